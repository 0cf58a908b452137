package lenient

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Quality says how far a Time can be trusted.
type Quality uint8

// The qualities of a time. Parsing gives Good, NoZone, Unset or Unreadable;
// Resolve, which knows when the message came, gives the others as well.
const (
	// Good has a date, a time and a zone.
	Good Quality = iota
	// NoZone had no zone and was taken as UTC.
	NoZone
	// ZoneInferred had no zone; the one that fits the time of receipt was taken.
	ZoneInferred
	// Suspect is more than five minutes away from the time of receipt, though
	// the message was live.
	Suspect
	// Unset is from before 2015, when OCPP 1.6 was published: the device has
	// never known the time.
	Unset
	// Unreadable is a text that is no time.
	Unreadable
	// Received is the time of receipt in place of an Unset, Unreadable or
	// missing one.
	Received
)

// String returns the word for q.
func (q Quality) String() string {
	switch q {
	case Good:
		return "good"
	case NoZone:
		return "no_zone"
	case ZoneInferred:
		return "zone_inferred"
	case Suspect:
		return "suspect"
	case Unset:
		return "unset"
	case Unreadable:
		return "unreadable"
	case Received:
		return "received"
	default:
		return fmt.Sprintf("quality %d", uint8(q))
	}
}

// liveWindow is how far the clock of a device may be away from ours before its
// time is suspect.
const liveWindow = 5 * time.Minute

// earliest is the year before which no device can have meant its time.
const earliest = 2015

// Time is a time as a device wrote it. The zero Time is an absent one.
type Time struct {
	Raw     string    // as it was written; empty for a time made by At
	Time    time.Time // in UTC; zero when Unreadable
	Quality Quality
}

// At returns the Time to send for t.
func At(t time.Time) Time {
	return Time{Time: t.UTC()}
}

// IsZero tells whether there is no time at all, not even an unreadable one.
func (t Time) IsZero() bool {
	return t.Raw == "" && t.Time.IsZero()
}

// AppendJSON appends the time as AppendTime does, an unreadable one as it was
// written.
func (t Time) AppendJSON(b []byte) []byte {
	if t.Time.IsZero() && t.Raw != "" {
		return AppendString(b, t.Raw)
	}
	return AppendTime(b, t.Time)
}

// Resolve returns the time to go by when the message with t came at received
// and told of something that had just happened, and how it was found: no clock
// or an unset one gives the time of receipt, a time without zone that is off by
// a whole number of half hours is given that zone, and one more than five
// minutes away from receipt is suspect. For messages that a device had queued
// use t.Time and t.Quality alone.
func (t Time) Resolve(received time.Time) (time.Time, Quality) {
	received = received.UTC()
	switch {
	case t.IsZero() || t.Quality == Unreadable || t.Quality == Unset || t.Time.Year() < earliest:
		return received, Received
	case t.Time.Sub(received).Abs() <= liveWindow:
		return t.Time, t.Quality
	case t.Quality == NoZone:
		if offset, ok := t.Zone(received); ok {
			return t.Time.Add(-offset), ZoneInferred
		}
	}
	return t.Time, Suspect
}

// Zone returns the offset from UTC, in half hours east of Greenwich, that
// explains a time without zone in a live message that came at received. Ok is
// false when t has a zone or none explains it within a minute and a half.
func (t Time) Zone(received time.Time) (offset time.Duration, ok bool) {
	const step, slack = 30 * time.Minute, 90 * time.Second
	if t.Quality != NoZone {
		return 0, false
	}
	ahead := t.Time.Sub(received)
	offset = ahead.Round(step)
	if (ahead-offset).Abs() > slack || offset < -12*time.Hour || offset > 14*time.Hour {
		return 0, false
	}
	return offset, true
}

// ParseTime reads a time as devices write it: RFC 3339 with any offset and any
// number of decimals, lower-case letters, a blank for the T, no zone, an offset
// without colon, no seconds, a date alone, or seconds, milli- or microseconds
// since 1970.
func ParseTime(text string) Time {
	t, _ := parseTime(text)
	return t
}

// Time reads a time, in quotes or as a number since 1970. A text that is no
// time is kept in Raw and recorded.
func (r *Reader) Time() Time {
	if r.broken {
		return Time{}
	}
	wrapped := r.peek() == '[' && r.unwrap()
	var t Time
	var kind Kind
	switch c := r.peek(); {
	case c == '"':
		if text := r.quoted(); !r.broken {
			t, kind = parseTime(string(text))
		}
	case c == '-' || c >= '0' && c <= '9':
		if raw := r.skip(); !r.broken {
			t, kind = parseTime(string(raw))
			if kind == "" {
				kind = KindTimeForm
			}
		}
	default:
		r.mismatch("a time")
	}
	if kind != "" {
		r.deviate(kind, quote([]byte(t.Raw)))
	}
	r.rewrap(wrapped)
	return t
}

// parseTime is ParseTime with the deviation that text is, if any.
func parseTime(text string) (Time, Kind) {
	at, zoned, odd, ok := readTime(text)
	if !ok {
		at, ok = readUnix(strings.TrimSpace(text))
		zoned, odd = true, true
	}
	t := Time{Raw: text, Time: at}
	switch {
	case !ok:
		return Time{Raw: text, Quality: Unreadable}, KindTimeUnreadable
	case at.Year() < earliest:
		t.Quality = Unset
		return t, KindTimeUnset
	case !zoned:
		t.Quality = NoZone
		return t, KindTimeWithoutZone
	case odd:
		return t, KindTimeForm
	default:
		return t, ""
	}
}

// readUnix reads a number of seconds, milli- or microseconds since 1970; which
// of them follows from its size.
func readUnix(text string) (time.Time, bool) {
	if text == "" || strings.Trim(text, "0123456789.") != "" {
		return time.Time{}, false
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return time.Time{}, false
	}
	unit := float64(time.Second)
	switch {
	case n >= 1e17:
		return time.Time{}, false
	case n >= 1e14:
		unit = float64(time.Microsecond)
	case n >= 1e11:
		unit = float64(time.Millisecond)
	}
	whole, fraction := math.Modf(n / (float64(time.Second) / unit))
	return time.Unix(int64(whole), int64(math.Round(fraction*1e6))*1000).UTC(), true
}

// readTime reads a calendar time. Odd tells that its form is not exactly that
// of RFC 3339 in capital letters.
func readTime(text string) (t time.Time, zoned, odd, ok bool) {
	s := text
	if trimmed := strings.TrimSpace(s); trimmed != s {
		s, odd = trimmed, true
	}
	year, s, ok1 := digits(s, 4, '-')
	month, s, ok2 := digits(s, 2, '-')
	day, s, ok3 := digits(s, 2, 0)
	if !ok1 || !ok2 || !ok3 || month < 1 || month > 12 || day < 1 || day > daysIn(year, month) {
		return time.Time{}, false, false, false
	}
	if s == "" {
		return time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC), false, true, true
	}
	if s[0] != 'T' {
		if s[0] != 't' && s[0] != ' ' {
			return time.Time{}, false, false, false
		}
		odd = true
	}
	hour, s, ok1 := digits(s[1:], 2, ':')
	minute, s, ok2 := digits(s, 2, 0)
	if !ok1 || !ok2 || hour > 23 || minute > 59 {
		return time.Time{}, false, false, false
	}
	second, nano := 0, 0
	if strings.HasPrefix(s, ":") {
		if second, s, ok = digits(s[1:], 2, 0); !ok || second > 60 {
			return time.Time{}, false, false, false
		}
		if s != "" && (s[0] == '.' || s[0] == ',') {
			odd = odd || s[0] == ','
			if nano, s, ok = decimals(s[1:]); !ok {
				return time.Time{}, false, false, false
			}
		}
	} else {
		odd = true
	}
	offset, zoned, plain, ok := readZone(s)
	if !ok {
		return time.Time{}, false, false, false
	}
	t = time.Date(year, time.Month(month), day, hour, minute, second, nano, time.UTC).Add(-offset)
	if t.Year() < 0 || t.Year() > 9999 { // cannot be written again
		return time.Time{}, false, false, false
	}
	return t, zoned, odd || !plain, true
}

// readZone reads what follows the seconds.
func readZone(s string) (offset time.Duration, zoned, plain, ok bool) {
	switch s {
	case "":
		return 0, false, true, true
	case "Z":
		return 0, true, true, true
	case "z", " Z", " UTC", "UTC", " GMT", "GMT":
		return 0, true, false, true
	}
	plain = true
	if s[0] == ' ' {
		s, plain = s[1:], false
	}
	if s == "" || s[0] != '+' && s[0] != '-' {
		return 0, false, false, false
	}
	negative := s[0] == '-'
	hours, s, ok := digits(s[1:], 2, 0)
	if !ok || hours > 23 {
		return 0, false, false, false
	}
	minutes := 0
	if strings.HasPrefix(s, ":") {
		s = s[1:]
		if s == "" {
			return 0, false, false, false
		}
	} else {
		plain = false
	}
	if s != "" {
		if minutes, s, ok = digits(s, 2, 0); !ok || minutes > 59 || s != "" {
			return 0, false, false, false
		}
	}
	offset = time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute
	if negative {
		offset = -offset
	}
	return offset, true, plain, true
}

// digits reads exactly n digits and, if it is not 0, the byte after them.
func digits(s string, n int, after byte) (value int, rest string, ok bool) {
	if len(s) < n {
		return 0, "", false
	}
	for i := range n {
		if s[i] < '0' || s[i] > '9' {
			return 0, "", false
		}
		value = value*10 + int(s[i]-'0')
	}
	if s = s[n:]; after != 0 {
		if s == "" || s[0] != after {
			return 0, "", false
		}
		s = s[1:]
	}
	return value, s, true
}

// decimals reads the digits of a fraction of a second as nanoseconds; what is
// finer is cut off.
func decimals(s string) (nano int, rest string, ok bool) {
	scale := int(time.Second)
	i := 0
	for ; i < len(s) && s[i] >= '0' && s[i] <= '9'; i++ {
		scale /= 10
		nano += int(s[i]-'0') * scale
	}
	return nano, s[i:], i > 0
}

func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	default:
		return 31
	}
}
