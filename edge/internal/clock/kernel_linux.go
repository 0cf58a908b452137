package clock

import "syscall"

// adjtimex(2): the state TIME_ERROR and the status bit STA_UNSYNC say that
// nobody keeps the kernel's clock right.
const (
	timeError = 5
	staUnsync = 0x40
)

// adjtimex tells whether the kernel takes its clock for synced. Where it may not
// be asked (a sandbox), nobody knows, and the manager's time will do.
func adjtimex() bool {
	var t syscall.Timex // modes 0: only read
	state, err := syscall.Adjtimex(&t)
	return err == nil && state != timeError && t.Status&staUnsync == 0
}
