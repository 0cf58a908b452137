package site

import "github.com/chargeyard/chargeyard/shared/event"

// flagSet is a set of event.Flag, in the order of the contract.
type flagSet uint16

const (
	flagRecovered flagSet = 1 << iota
	flagSuperseded
	flagInferred
	flagSuspect
	flagGap
	flagMeterRegression
	flagClock
	flagUnknownEnergy
	flagOffline
	flagUnauthorized
)

var flagNames = [...]event.Flag{
	event.FlagRecovered, event.FlagSuperseded, event.FlagInferred, event.FlagSuspect, event.FlagGap,
	event.FlagMeterRegression, event.FlagClock, event.FlagUnknownEnergy, event.FlagOffline, event.FlagUnauthorized,
}

// list returns the flags as they stand in events; nil where there are none.
func (f flagSet) list() []event.Flag {
	if f == 0 {
		return nil
	}
	var out []event.Flag
	for i, name := range flagNames {
		if f&(1<<i) != 0 {
			out = append(out, name)
		}
	}
	return out
}

// when returns f where on holds, else nothing.
func (f flagSet) when(on bool) flagSet {
	if on {
		return f
	}
	return 0
}

// of returns the flags that a moment deserves.
func (m moment) flags() flagSet {
	return flagClock.when(m.doubted) | flagOffline.when(m.offline)
}
