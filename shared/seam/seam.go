// Package seam holds the places where a test may reach into a running binary:
// named failpoints at which the process kills itself, a clock that stands wrong,
// a disk that is full. They exist only in binaries built with the tag "seams";
// in shipped ones every function here is empty and costs nothing.
package seam
