package console_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/edge/internal/console"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
)

func TestScorecard(t *testing.T) {
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	var scores []console.Score
	c := newConsole(t, console.Config{Gateway: "gw-1"}, console.Sources{Scores: func() []console.Score { return scores }})
	if _, body := get(t, c, "/scorecard"); !strings.Contains(body, "every station keeps to its protocol") {
		t.Errorf("got %s", body)
	}
	scores = []console.Score{
		{Station: "CP-1", Model: "Acme Wall 1.2", Profile: "acme", Kinds: []console.Deviations{{Kind: "key_case", Count: 7, Last: at, Text: "StatusNotification.<x>"}, {Kind: "null", Count: 2, Last: at}}},
		{Station: "CP-2", Model: "Acme Wall 1.2", Profile: "acme", Kinds: []console.Deviations{{Kind: "null", Count: 40, Last: at}}},
		{Station: "CP-3", Model: "Good Box"},
		{Station: "CP-4"},
	}
	code, body := get(t, c, "/scorecard")
	for _, want := range []string{
		"<tr><td>Acme Wall 1.2<td>acme<td>2<td>0<td>null × 42, key_case × 7<tr>", "<tr><td>Good Box<td><td>1<td>1<td>",
		"<tr><td>not said yet<td>", "<tr><td>CP-1<td>Acme Wall 1.2<td>key_case<td>7<td class=when>2026-11-22 10:00:00<td class=dim>StatusNotification.&lt;x&gt;<tr><td><td><td>null<td>2",
	} {
		if code != 200 || !strings.Contains(body, want) {
			t.Errorf("%d, no %s in %s", code, want, body)
		}
	}
	if _, body := get(t, c, "/"); !strings.Contains(body, "href=/scorecard") {
		t.Error("the page does not lead to the scorecard")
	}
}

func TestFrames(t *testing.T) {
	var id event.StationID
	var from, to time.Time
	c := newConsole(t, console.Config{}, console.Sources{
		Stations: func() []site.StationInfo { return []site.StationInfo{{ID: "a/b"}} },
		Frames: func(w io.Writer, s event.StationID, f, u time.Time) (bool, error) {
			id, from, to = s, f, u
			switch s {
			case "nobody":
				return false, nil
			case "gone":
				return true, errors.New("connection lost")
			}
			_, err := io.WriteString(w, "{}\n")
			return true, err
		},
	})
	if code, body := get(t, c, "/stations/a%2Fb/frames?from=2026-11-22T10:00:00Z&to=5m"); code != 200 || body != "{}\n" || id != "a/b" {
		t.Errorf("got %d %q for %q", code, body, id)
	}
	if !from.Equal(time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)) || time.Since(to) < 5*time.Minute || time.Since(to) > 6*time.Minute {
		t.Errorf("from %v to %v", from, to)
	}
	if code, _ := get(t, c, "/stations/nobody/frames"); code != 404 {
		t.Errorf("nobody: got %d", code)
	}
	if code, _ := get(t, c, "/stations/a/frames?from=yesterday"); code != 400 {
		t.Errorf("yesterday: got %d", code)
	}
	if code, body := get(t, c, "/stations/gone/frames"); code != 200 || body != "" {
		t.Errorf("cut off: got %d %q", code, body)
	}
	if _, body := get(t, c, "/"); !strings.Contains(body, `<a href="/stations/a%2Fb/frames">a/b</a>`) {
		t.Errorf("the page does not lead to the frames: %s", body)
	}
	plain := newConsole(t, console.Config{}, console.Sources{})
	if code, _ := get(t, plain, "/stations/a/frames"); code != 404 {
		t.Errorf("without a recorder: got %d", code)
	}
	if code, _ := get(t, plain, "/scorecard"); code != 404 {
		t.Errorf("without scores: got %d", code)
	}
}
