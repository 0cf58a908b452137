package lenient_test

import (
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/shared/lenient"
)

func TestParseTime(t *testing.T) {
	tests := []struct {
		text    string
		want    string // RFC 3339 in UTC; empty for none
		quality lenient.Quality
		kind    lenient.Kind
	}{
		{"2026-11-22T06:01:02Z", "2026-11-22T06:01:02Z", lenient.Good, ""},
		{"2026-11-22T06:01:02.345Z", "2026-11-22T06:01:02.345Z", lenient.Good, ""},
		{"2026-11-22T06:01:02.345678901Z", "2026-11-22T06:01:02.345678901Z", lenient.Good, ""},
		{"2026-11-22T06:01:02.3456789012345Z", "2026-11-22T06:01:02.345678901Z", lenient.Good, ""},
		{"2024-02-29T23:59:60Z", "2024-03-01T00:00:00Z", lenient.Good, ""},
		// quirk 45: any offset
		{"2026-11-22T16:01:02+10:00", "2026-11-22T06:01:02Z", lenient.Good, ""},
		{"2026-11-22T06:01:02+00:00", "2026-11-22T06:01:02Z", lenient.Good, ""},
		{"2026-11-21T22:31:02.5-07:30", "2026-11-22T06:01:02.5Z", lenient.Good, ""},
		{"2026-11-22T07:01:02+0100", "2026-11-22T06:01:02Z", lenient.Good, lenient.KindTimeForm},
		{"2026-11-22T07:01:02+01", "2026-11-22T06:01:02Z", lenient.Good, lenient.KindTimeForm},
		{"2026-11-22 07:01:02 +01:00", "2026-11-22T06:01:02Z", lenient.Good, lenient.KindTimeForm},
		{"2026-11-22T06:01:02 UTC", "2026-11-22T06:01:02Z", lenient.Good, lenient.KindTimeForm},
		// odd forms
		{"2026-11-22t06:01:02z", "2026-11-22T06:01:02Z", lenient.Good, lenient.KindTimeForm},
		{"2026-11-22 06:01:02Z", "2026-11-22T06:01:02Z", lenient.Good, lenient.KindTimeForm},
		{" 2026-11-22T06:01:02Z ", "2026-11-22T06:01:02Z", lenient.Good, lenient.KindTimeForm},
		{"2026-11-22T06:01:02,5Z", "2026-11-22T06:01:02.5Z", lenient.Good, lenient.KindTimeForm},
		{"2026-11-22T06:01Z", "2026-11-22T06:01:00Z", lenient.Good, lenient.KindTimeForm},
		{"1795327262", "2026-11-22T06:01:02Z", lenient.Good, lenient.KindTimeForm},
		{"1795327262345", "2026-11-22T06:01:02.345Z", lenient.Good, lenient.KindTimeForm},
		{"1795327262345678", "2026-11-22T06:01:02.345678Z", lenient.Good, lenient.KindTimeForm},
		{"1795327262.5", "2026-11-22T06:01:02.5Z", lenient.Good, lenient.KindTimeForm},
		// quirk 41: no zone
		{"2026-11-22T06:01:02", "2026-11-22T06:01:02Z", lenient.NoZone, lenient.KindTimeWithoutZone},
		{"2026-11-22 06:01:02.5", "2026-11-22T06:01:02.5Z", lenient.NoZone, lenient.KindTimeWithoutZone},
		{"2026-11-22", "2026-11-22T00:00:00Z", lenient.NoZone, lenient.KindTimeWithoutZone},
		// quirk 44: a clock that was never set
		{"1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z", lenient.Unset, lenient.KindTimeUnset},
		{"1970-01-01T05:17:00", "1970-01-01T05:17:00Z", lenient.Unset, lenient.KindTimeUnset},
		{"0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z", lenient.Unset, lenient.KindTimeUnset},
		{"2000-01-01T00:00:00Z", "2000-01-01T00:00:00Z", lenient.Unset, lenient.KindTimeUnset},
		{"0", "1970-01-01T00:00:00Z", lenient.Unset, lenient.KindTimeUnset},
		// no time
		{"", "", lenient.Unreadable, lenient.KindTimeUnreadable},
		{"now", "", lenient.Unreadable, lenient.KindTimeUnreadable},
		{"2026-02-29T00:00:00Z", "", lenient.Unreadable, lenient.KindTimeUnreadable},
		{"2026-13-01T00:00:00Z", "", lenient.Unreadable, lenient.KindTimeUnreadable},
		{"2026-04-31T00:00:00Z", "", lenient.Unreadable, lenient.KindTimeUnreadable},
		{"2026-11-22T24:00:00Z", "", lenient.Unreadable, lenient.KindTimeUnreadable},
		{"2026-11-22T06:60:00Z", "", lenient.Unreadable, lenient.KindTimeUnreadable},
		{"2026-11-22T06:01:02.Z", "", lenient.Unreadable, lenient.KindTimeUnreadable},
		{"2026-11-22T06:01:02+25:00", "", lenient.Unreadable, lenient.KindTimeUnreadable},
		{"2026-11-22T06:01:02+01:", "", lenient.Unreadable, lenient.KindTimeUnreadable},
		{"2026-11-22T06:01:02 CET", "", lenient.Unreadable, lenient.KindTimeUnreadable},
		{"22.11.2026 06:01", "", lenient.Unreadable, lenient.KindTimeUnreadable},
		{"-5", "", lenient.Unreadable, lenient.KindTimeUnreadable},
		{"99999999999999999999", "", lenient.Unreadable, lenient.KindTimeUnreadable},
		{"0000-01-01T00:00:00+10:00", "", lenient.Unreadable, lenient.KindTimeUnreadable},
	}
	for _, tt := range tests {
		got := lenient.ParseTime(tt.text)
		text := ""
		if got.Quality != lenient.Unreadable {
			text = got.Time.Format(time.RFC3339Nano)
		}
		if text != tt.want || got.Quality != tt.quality || got.Raw != tt.text {
			t.Errorf("%q: got %q, %s, raw %q; want %q, %s", tt.text, text, got.Quality, got.Raw, tt.want, tt.quality)
		}
		v, deviations, err := decode(`{"text":"t","int":1,"time":"` + tt.text + `"}`)
		if err != nil || v.Time != got || kinds(deviations) != string(tt.kind) {
			t.Errorf("%q decoded: got %+v, %q, %v; want %q", tt.text, v.Time, kinds(deviations), err, tt.kind)
		}
	}
}

func TestResolve(t *testing.T) {
	received := time.Date(2026, 11, 22, 6, 1, 2, 0, time.UTC)
	tests := []struct {
		name, text string
		want       string
		quality    lenient.Quality
	}{
		{"good", "2026-11-22T06:00:00Z", "2026-11-22T06:00:00Z", lenient.Good},
		{"five minutes late", "2026-11-22T05:56:02Z", "2026-11-22T05:56:02Z", lenient.Good},
		{"more than five minutes late", "2026-11-22T05:56:01Z", "2026-11-22T05:56:01Z", lenient.Suspect},
		{"quirk 41, no zone but UTC", "2026-11-22T06:01:00", "2026-11-22T06:01:00Z", lenient.NoZone},
		{"quirk 41, an hour east", "2026-11-22T07:01:00", "2026-11-22T06:01:00Z", lenient.ZoneInferred},
		{"quirk 41, half hours", "2026-11-22T11:30:30", "2026-11-22T06:00:30Z", lenient.ZoneInferred},
		{"quirk 41, west", "2026-11-21T20:01:30", "2026-11-22T06:01:30Z", lenient.ZoneInferred},
		{"quirk 41, no zone fits", "2026-11-22T07:11:00", "2026-11-22T07:11:00Z", lenient.Suspect},
		{"quirk 41, farther than any zone", "2026-11-22T21:01:00", "2026-11-22T21:01:00Z", lenient.Suspect},
		{"quirk 43, local time labelled Z", "2026-11-22T07:01:00Z", "2026-11-22T07:01:00Z", lenient.Suspect},
		{"quirk 44, 1970", "1970-01-01T00:00:05Z", "2026-11-22T06:01:02Z", lenient.Received},
		{"quirk 44, 0001", "0001-01-01T00:00:00Z", "2026-11-22T06:01:02Z", lenient.Received},
		{"unreadable", "soon", "2026-11-22T06:01:02Z", lenient.Received},
	}
	for _, tt := range tests {
		got, quality := lenient.ParseTime(tt.text).Resolve(received)
		if text := got.Format(time.RFC3339Nano); text != tt.want || quality != tt.quality {
			t.Errorf("%s: got %s, %s; want %s, %s", tt.name, text, quality, tt.want, tt.quality)
		}
	}
	if got, quality := (lenient.Time{}).Resolve(received.In(time.FixedZone("", 3600))); got != received || quality != lenient.Received {
		t.Errorf("absent: got %s, %s", got, quality)
	}
	if offset, ok := lenient.ParseTime("2026-11-22T11:31:02").Zone(received); !ok || offset != 5*time.Hour+30*time.Minute {
		t.Errorf("zone %s, %v", offset, ok)
	}
}

func TestAppendTime(t *testing.T) {
	cet := time.FixedZone("CET", 3600)
	for want, at := range map[string]time.Time{
		`"2026-11-22T06:01:02Z"`:     time.Date(2026, 11, 22, 7, 1, 2, 0, cet), // quirk 34: no offset
		`"2026-11-22T06:01:02.345Z"`: time.Date(2026, 11, 22, 6, 1, 2, 345678901, time.UTC),
		`"2026-11-22T06:01:02.300Z"`: time.Date(2026, 11, 22, 6, 1, 2, 300000000, time.UTC),
		`"2026-11-22T06:01:03Z"`:     time.Date(2026, 11, 22, 6, 1, 3, 999999, time.UTC), // no microseconds
		`"0001-01-01T00:00:00Z"`:     {},
	} {
		if got := string(lenient.At(at).AppendJSON(nil)); got != want {
			t.Errorf("%s: %s, want %s", at, got, want)
		}
	}
	if got := string(lenient.ParseTime("soon").AppendJSON(nil)); got != `"soon"` {
		t.Errorf("unreadable: %s", got)
	}
	if got := string(lenient.ParseTime("1795327262").AppendJSON(nil)); got != `"2026-11-22T06:01:02Z"` {
		t.Errorf("number: %s", got)
	}
	if !(lenient.Time{}).IsZero() || lenient.ParseTime("soon").IsZero() || lenient.At(time.Unix(0, 0)).IsZero() {
		t.Error("IsZero")
	}
}

func TestQualityString(t *testing.T) {
	for q, want := range map[lenient.Quality]string{
		lenient.Good: "good", lenient.NoZone: "no_zone", lenient.ZoneInferred: "zone_inferred", lenient.Suspect: "suspect",
		lenient.Unset: "unset", lenient.Unreadable: "unreadable", lenient.Received: "received", 99: "quality 99",
	} {
		if got := q.String(); got != want {
			t.Errorf("%d: %s, want %s", uint8(q), got, want)
		}
	}
}

// FuzzParseTime: nothing panics, and what was read is the same when written.
func FuzzParseTime(f *testing.F) {
	for _, seed := range []string{"2026-11-22T06:01:02.345Z", "2026-11-22 07:01:02 +01:00", "1795327262.5", "0001-01-01", "9999-12-31T23:59:60-23:59", "soon"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		at := lenient.ParseTime(text)
		if at.Quality == lenient.Unreadable {
			if !at.Time.IsZero() {
				t.Fatalf("%q: unreadable, yet %s", text, at.Time)
			}
			return
		}
		written := string(lenient.At(at.Time).AppendJSON(nil))
		again := lenient.ParseTime(written[1 : len(written)-1])
		if !again.Time.Equal(at.Time.Truncate(time.Millisecond)) || again.Quality == lenient.Unreadable || again.Quality == lenient.NoZone {
			t.Fatalf("%q was read as %s, written as %s and read as %+v", text, at.Time, written, again)
		}
	})
}
