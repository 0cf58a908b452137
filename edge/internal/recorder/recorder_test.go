package recorder_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/edge/internal/recorder"
	"github.com/chargeyard/chargeyard/shared/event"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func TestFrames(t *testing.T) {
	r := recorder.New(recorder.Config{})
	for i := range 10 {
		r.Record("CP-1", i%2 == 0, noon.Add(time.Duration(i)*time.Second), fmt.Appendf(nil, `[2,"%d","Heartbeat",{}]`, i))
	}
	r.Record("CP-2", true, noon, []byte("[3]"))
	all := r.Frames("CP-1", time.Time{}, time.Time{})
	if len(all) != 10 || string(all[9].Data) != `[2,"9","Heartbeat",{}]` || !all[0].Incoming || all[1].Incoming || !all[3].Time.Equal(noon.Add(3*time.Second)) {
		t.Errorf("got %+v", all)
	}
	some := r.Frames("CP-1", noon.Add(2*time.Second), noon.Add(4*time.Second))
	if len(some) != 2 || string(some[0].Data) != `[2,"2","Heartbeat",{}]` {
		t.Errorf("got %+v", some)
	}
	if none := r.Frames("CP-3", time.Time{}, time.Time{}); len(none) != 0 {
		t.Errorf("got %+v", none)
	}
}

// The newest frames of each station stay within its bytes, and all within theirs.
func TestBounds(t *testing.T) {
	const station, total, stations = 16 << 10, 100 << 10, 50
	r := recorder.New(recorder.Config{StationBytes: station, TotalBytes: total})
	frame := []byte(`[2,"` + strings.Repeat("x", 300) + `"]`)
	for i := range 2000 {
		for s := range stations {
			if i%(s+1) == 0 { // the first ones have much to say
				r.Record(event.StationID(fmt.Sprint("CP-", s)), true, noon.Add(time.Duration(i)*time.Second), frame)
			}
		}
		if b := r.Bytes(); b > total {
			t.Fatalf("%d bytes after %d rounds, want at most %d", b, i, total)
		}
	}
	kept := 0
	for s := range stations {
		frames := r.Frames(event.StationID(fmt.Sprint("CP-", s)), time.Time{}, time.Time{})
		if len(frames)*len(frame) > station {
			t.Errorf("CP-%d: %d frames", s, len(frames))
		}
		for i := 1; i < len(frames); i++ {
			if frames[i].Time.Before(frames[i-1].Time) {
				t.Fatalf("CP-%d: out of order", s)
			}
		}
		kept += len(frames)
	}
	if kept*len(frame) < total/2 {
		t.Errorf("only %d frames are kept", kept)
	}
	newest := r.Frames("CP-0", time.Time{}, time.Time{})
	if len(newest) == 0 || !newest[len(newest)-1].Time.Equal(noon.Add(1999*time.Second)) {
		t.Error("the newest frame is gone")
	}
}

func TestLargeFrame(t *testing.T) {
	r := recorder.New(recorder.Config{StationBytes: 4 << 10})
	r.Record("CP-1", true, noon, bytes.Repeat([]byte("a"), 1<<20))
	r.Record("CP-1", false, noon, []byte("[3]"))
	f := r.Frames("CP-1", time.Time{}, time.Time{})
	if len(f) != 2 || len(f[0].Data) != 1<<10 || f[0].Cut != 1<<20-1<<10 || f[1].Cut != 0 {
		t.Errorf("got %d frames", len(f))
	}
}

func TestConcurrent(t *testing.T) {
	r := recorder.New(recorder.Config{StationBytes: 8 << 10, TotalBytes: 32 << 10})
	var work sync.WaitGroup
	for s := range 8 {
		work.Go(func() {
			id := event.StationID(fmt.Sprint("CP-", s%5))
			for i := range 2000 {
				r.Record(id, true, noon, bytes.Repeat([]byte{'z'}, i%700))
				if i%50 == 0 {
					r.Frames(id, time.Time{}, time.Time{})
				}
			}
		})
	}
	work.Wait()
	if b := r.Bytes(); b > 32<<10 {
		t.Errorf("%d bytes are held", b)
	}
}

func TestRedact(t *testing.T) {
	tests := []struct{ name, frame, want string }{
		{"nothing to hide", `[2, "1","Authorize",{"idTag":"A<B"}]`, `[2,"1","Authorize",{"idTag":"A<B"}]`},
		{"1.6 set", `[2,"1","ChangeConfiguration",{"key":"AuthorizationKey","value":"30313233"}]`, `[2,"1","ChangeConfiguration",{"key":"AuthorizationKey","value":"…hidden…"}]`},
		{"1.6 set, another key", `[2,"1","ChangeConfiguration",{"key":"HeartbeatInterval","value":"60"}]`, `[2,"1","ChangeConfiguration",{"key":"HeartbeatInterval","value":"60"}]`},
		{"1.6 got", `[3,"1",{"configurationKey":[{"key":"WifiPassword","readonly":false,"value":"x1"},{"key":"A","value":"1"}]}]`,
			`[3,"1",{"configurationKey":[{"key":"WifiPassword","readonly":false,"value":"…hidden…"},{"key":"A","value":"1"}]}]`},
		{"2.x set", `[2,"1","SetVariables",{"setVariableData":[{"attributeValue":"x1","component":{"name":"SecurityCtrlr"},"variable":{"name":"BasicAuthPassword"}}]}]`,
			`[2,"1","SetVariables",{"setVariableData":[{"attributeValue":"…hidden…","component":{"name":"SecurityCtrlr"},"variable":{"name":"BasicAuthPassword"}}]}]`},
		{"2.x report", `[2,"1","NotifyReport",{"reportData":[{"variable":{"name":"BasicAuthPassword"},"variableAttribute":[{"value":"x1"}]}]}]`,
			`[2,"1","NotifyReport",{"reportData":[{"variable":{"name":"BasicAuthPassword"},"variableAttribute":[{"value":"…hidden…"}]}]}]`},
		{"2.x network", `[2,"1","SetNetworkProfile",{"connectionData":{"apn":{"apnPassword":"x1","simPin":1234},"vpn":{"key":"x1","password":"x1","server":"s","user":"u"}}}]`,
			`[2,"1","SetNetworkProfile",{"connectionData":{"apn":{"apnPassword":"…hidden…","simPin":1234},"vpn":{"key":"…hidden…","password":"…hidden…","server":"s","user":"u"}}}]`},
		{"private key", `[2,"1","X",{"a":["-----BEGIN EC PRIVATE KEY-----\nx1"]}]`, `[2,"1","X",{"a":["…hidden…"]}]`},
		{"address", `[2,"1","GetDiagnostics",{"location":"ftp://u:x1@h/d"}]`, `[2,"1","GetDiagnostics",{"location":"ftp://hidden@h/d"}]`},
		{"JSON in a text", `[2,"1","DataTransfer",{"data":"{\"password\":\"x1\",\"n\":1.50}"}]`, `[2,"1","DataTransfer",{"data":"{\"n\":1.50,\"password\":\"…hidden…\"}"}]`},
		{"half JSON in a text", `[2,"1","DataTransfer",{"data":"{\"password\":\"x1"}]`, `[2,"1","DataTransfer",{"data":"{\"…hidden…"}]`},
		{"an empty password is none", `[2,"1","X",{"password":""}]`, `[2,"1","X",{"password":""}]`},
		{"broken", `[2,"1","ChangeConfiguration",{"key":"AuthorizationKey","value":"x1`, `text:[2,"1","ChangeConfiguration",{"key":"…hidden…`},
		{"broken, harmless", "[2,\"1\",\"X\",{\xff", "text:[2,\"1\",\"X\",{\uFFFD"},
		{"two frames", `[1] {"password":"x1"}`, `text:[1] {"…hidden…`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			object, text := recorder.Redact([]byte(tt.frame))
			got := string(object)
			if object == nil {
				got = "text:" + text
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if strings.Contains(got, "x1") {
				t.Error("the secret is still there")
			}
		})
	}
}

func TestWrite(t *testing.T) {
	var b bytes.Buffer
	err := recorder.Write(&b, []recorder.Frame{
		{Time: noon, Incoming: true, Data: []byte(`[2,"1",` + "\n" + `"Heartbeat",{}]`)},
		{Time: noon.Add(time.Microsecond), Data: []byte(`[3,"1"`), Cut: 7},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"time":"2026-11-22T12:00:00.000000Z","direction":"in","frame":[2,"1","Heartbeat",{}]}
{"time":"2026-11-22T12:00:00.000001Z","direction":"out","text":"[3,\"1\"","cut":7}
`
	if b.String() != want {
		t.Errorf("got %s", b.String())
	}
}

// What is read out is JSON whatever was recorded, and holds no password.
func FuzzRedact(f *testing.F) {
	f.Add([]byte(`[2,"1","ChangeConfiguration",{"key":"AuthorizationKey","value":"x"}]`))
	f.Add([]byte(`{"a":"{\"b\":[1,{\"password\":null}]}"}`))
	f.Add([]byte("\xff[\"://@\"]"))
	f.Fuzz(func(t *testing.T, frame []byte) {
		object, _ := recorder.Redact(frame)
		if object != nil && (!json.Valid(object) || bytes.ContainsRune(object, '\n')) {
			t.Errorf("%q became %q", frame, object)
		}
		var b bytes.Buffer
		if err := recorder.Write(&b, []recorder.Frame{{Data: frame}}); err != nil || bytes.Count(b.Bytes(), []byte("\n")) != 1 {
			t.Errorf("%q was written as %q, %v", frame, b.Bytes(), err)
		}
	})
}

func BenchmarkRecord(b *testing.B) {
	r := recorder.New(recorder.Config{})
	frame := bytes.Repeat([]byte("x"), 400)
	b.ReportAllocs()
	for b.Loop() {
		r.Record("CP-1", true, noon, frame)
	}
}
