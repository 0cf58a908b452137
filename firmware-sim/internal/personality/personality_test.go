package personality_test

import (
	"context"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/charger"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/personality"
	"github.com/chargeyard/chargeyard/shared/ocppj"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// far is a far end that writes down what comes.
type far struct {
	mu    sync.Mutex
	heard []string
	login charger.Login
	in    chan []byte
	gone  chan struct{}
	once  sync.Once
}

func (f *far) Dial(_ context.Context, login charger.Login) (charger.Conn, error) {
	f.login, f.in, f.gone, f.once = login, make(chan []byte, 10), make(chan struct{}), sync.Once{}
	return f, nil
}

func (f *far) Read() ([]byte, error) {
	select {
	case data := <-f.in:
		return data, nil
	case <-f.gone:
		return nil, io.EOF
	}
}

func (f *far) Write(data []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.heard = append(f.heard, string(data))
	return nil
}

func (f *far) Ping(time.Duration) error { return nil }
func (f *far) Close(string) error       { return f.Cut() }

func (f *far) Cut() error {
	f.once.Do(func() { close(f.gone) })
	return nil
}

// took returns what came so far, and forgets it.
func (f *far) took() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.heard
	f.heard = nil
	return all
}

// talk is one charger with a personality and its far end.
type talk struct {
	t    *testing.T
	far  *far
	conn charger.Conn
	dial func()
}

func with(t *testing.T, name, version string, test func(c *talk)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2026, time.May, 4, 6, 7, 8, 0, time.UTC)))
		p, err := personality.Find(name)
		if err != nil {
			t.Fatal(err)
		}
		c := &talk{t: t, far: &far{}}
		dialer := p.Dialer(c.far, version)
		c.dial = func() {
			if c.conn != nil {
				_ = c.conn.Cut()
			}
			if c.conn, err = dialer.Dial(t.Context(), charger.Login{Identity: "X", Version: version}); err != nil {
				t.Fatal(err)
			}
		}
		c.dial()
		test(c)
		if err := c.conn.Cut(); err != nil {
			t.Error(err)
		}
	})
}

// say is what the charger writes; it returns what comes out.
func (c *talk) say(frames ...string) []string {
	c.t.Helper()
	for _, f := range frames {
		if err := c.conn.Write([]byte(f)); err != nil {
			c.t.Fatal(err)
		}
	}
	synctest.Wait()
	return c.far.took()
}

// tell is what the far end says.
func (c *talk) tell(frame string) {
	c.far.in <- []byte(frame)
	synctest.Wait()
}

// hears is the next frame that the charger gets.
func (c *talk) hears() string {
	c.t.Helper()
	data, err := c.conn.Read()
	if err != nil {
		c.t.Fatal(err)
	}
	return string(data)
}

const (
	start16   = `[2,"s","StartTransaction",{"connectorId":1,"idTag":"CAFE01","meterStart":5000,"timestamp":"2026-05-04T06:07:08Z"}]`
	stop16    = `[2,"e","StopTransaction",{"meterStop":6500,"timestamp":"2026-05-04T07:07:08.000Z","transactionId":7}]`
	values16  = `[2,"m","MeterValues",{"connectorId":1,"transactionId":7,"meterValue":[{"timestamp":"2026-05-04T06:30:00.000Z","sampledValue":[{"value":"5500","unit":"Wh"},{"value":"16.5","measurand":"Current.Import","unit":"A"}]}]}]`
	start2    = `[2,"s","TransactionEvent",{"eventType":"Started","evse":{"id":1,"connectorId":1},"seqNo":0,"timestamp":"2026-05-04T06:07:08.000Z","transactionInfo":{"transactionId":"T"},"triggerReason":"Authorized","meterValue":[{"timestamp":"2026-05-04T06:07:08.000Z","sampledValue":[{"value":5000}]}]}]`
	update2   = `[2,"u","TransactionEvent",{"eventType":"Updated","offline":true,"seqNo":1,"timestamp":"2026-05-04T06:30:00.000Z","transactionInfo":{"transactionId":"T"},"triggerReason":"MeterValuePeriodic","meterValue":[{"timestamp":"2026-05-04T06:30:00.000Z","sampledValue":[{"value":5500.5}]}]}]`
	status16  = `[2,"n","StatusNotification",{"connectorId":1,"errorCode":"NoError","status":"Available","timestamp":"2026-05-04T06:07:08.000Z"}]`
	status2   = `[2,"n","StatusNotification",{"connectorId":1,"connectorStatus":"Available","evseId":1,"timestamp":"2026-05-04T06:07:08.000Z"}]`
	boot16    = `[2,"b","BootNotification",{"chargePointModel":"M","chargePointVendor":"V"}]`
	accepted  = `[3,"b",{"status":"Accepted","currentTime":"2026-05-04T06:07:08Z","interval":300}]`
	unlocked  = `[3,"o",{"status":"Unlocked"}]`
	unlock16  = `[2,"o","UnlockConnector",{"connectorId":1}]`
	remote16  = `[2,"r","RemoteStartTransaction",{"idTag":"AABBCCDD"}]`
	start16rt = `[2,"s","StartTransaction",{"connectorId":1,"idTag":"AABBCCDD","meterStart":5000,"timestamp":"2026-05-04T06:07:08Z"}]`
)

// What comes out of the wire for what goes in.
func TestFrames(t *testing.T) {
	tests := []struct {
		personality, version, say string
		want                      []string // parts of the only frame
		never                     string
	}{
		{personality: "empty-value", version: ocppj.V16, say: values16, want: []string{`"transactionId":,`}},
		{personality: "empty-value", version: ocppj.V201, say: update2, want: []string{`"numberOfPhasesUsed":,`}},
		{personality: "stray-comma", version: ocppj.V16, say: values16, want: []string{`"meterValue":[,{`}},
		{personality: "stray-comma", version: ocppj.V21, say: update2, want: []string{`"meterValue":[,{`}},
		{personality: "stray-comma", version: ocppj.V21, say: start2, never: `[,{`},
		{personality: "blank-boot", version: ocppj.V16, say: boot16, want: []string{`"iccid":"-67"`, `"upTime":12345`}},
		{personality: "local-time", version: ocppj.V16, say: values16, want: []string{`"2026-05-04T08:30:00.000"`}},
		{personality: "false-zulu", version: ocppj.V201, say: update2, want: []string{`"2026-05-04T08:30:00.000Z"`}},
		{personality: "year-1970", version: ocppj.V16, say: values16, want: []string{`"1970-01-01T00:22:52.000Z"`}},
		{personality: "old-status", version: ocppj.V16, say: status16, want: []string{`"2026-05-01T06:07:08.000Z"`}},
		{personality: "old-status", version: ocppj.V16, say: start16, want: []string{`"2026-05-04T06:07:08.000Z"`}},
		{personality: "minus-one", version: ocppj.V16, say: values16, want: []string{`"transactionId":-1`}},
		{personality: "minus-one", version: ocppj.V16, say: stop16, want: []string{`"transactionId":-1`}},
		{personality: "zero-stop", version: ocppj.V16, say: stop16, want: []string{`"transactionId":0`}},
		{personality: "zero-stop", version: ocppj.V16, say: values16, want: []string{`"transactionId":7`}},
		{personality: "numbers", version: ocppj.V16, say: values16, want: []string{`"value":5500`, `"value":16.5`}},
		{personality: "numbers", version: ocppj.V21, say: update2, want: []string{`"value":"5500.5"`}},
		{personality: "decimal-comma", version: ocppj.V16, say: values16, want: []string{`"value":" 16,5 "`}},
		{personality: "kwh-as-wh", version: ocppj.V16, say: values16, want: []string{`"unit":"Wh","value":"5.500"`, `"value":"16.5"`}},
		{personality: "odd-words", version: ocppj.V16, say: values16, want: []string{`"Current.import"`, `"WH"`}},
		{personality: "no-evse", version: ocppj.V201, say: start2, never: `"evse"`},
		{personality: "connector-zero", version: ocppj.V16, say: values16, want: []string{`"connectorId":0`}},
		{personality: "connector-zero", version: ocppj.V201, say: status2, want: []string{`"connectorId":0`}},
	}
	for _, tt := range tests {
		t.Run(tt.personality+" "+tt.version, func(t *testing.T) {
			with(t, tt.personality, tt.version, func(c *talk) {
				out := c.say(tt.say)
				if len(out) != 1 {
					t.Fatalf("%d frames: %v", len(out), out)
				}
				for _, part := range tt.want {
					if !strings.Contains(out[0], part) {
						t.Errorf("%s: not in %s", part, out[0])
					}
				}
				if tt.never != "" && strings.Contains(out[0], tt.never) {
					t.Errorf("%s: in %s", tt.never, out[0])
				}
			})
		})
	}
}

func TestTwice(t *testing.T) {
	with(t, "twice", ocppj.V16, func(c *talk) {
		out := c.say(start16)
		if len(out) != 2 || !strings.Contains(out[1], `"meterStart":5000`) || strings.HasPrefix(out[1], `[2,"s"`) {
			t.Fatalf("%v", out)
		}
		id := strings.Split(out[1], `"`)[1]
		c.tell(`[3,"` + id + `",{"transactionId":8,"idTagInfo":{"status":"Accepted"}}]`)
		c.tell(`[3,"s",{"transactionId":7,"idTagInfo":{"status":"Accepted"}}]`)
		if got := c.hears(); !strings.Contains(got, `"transactionId":7`) {
			t.Errorf("the charger heard of its double: %s", got)
		}
	})
}

func TestWrongStop(t *testing.T) {
	with(t, "wrong-stop", ocppj.V16, func(c *talk) {
		if out := c.say(stop16); len(out) != 2 || !strings.Contains(out[0], `"transactionId":100007`) || out[1] != stop16 {
			t.Errorf("%v", out)
		}
	})
}

func TestSessionRegister(t *testing.T) {
	with(t, "session-register", ocppj.V16, func(c *talk) {
		out := c.say(start16)
		c.tell(`[3,"s",{"transactionId":7,"idTagInfo":{"status":"Accepted"}}]`)
		out = append(out, c.say(values16, stop16)...)
		for i, want := range []string{`"meterStart":0`, `"value":"500"`, `"meterStop":1500`} {
			if !strings.Contains(out[i], want) {
				t.Errorf("%s: not in %s", want, out[i])
			}
		}
	})
	with(t, "session-register", ocppj.V201, func(c *talk) {
		if out := c.say(start2, update2); !strings.Contains(out[0], `"value":0`) || !strings.Contains(out[1], `"value":500.5`) {
			t.Errorf("%v", out)
		}
	})
}

func TestSequenceRestarts(t *testing.T) {
	with(t, "sequence-restarts", ocppj.V201, func(c *talk) {
		out := c.say(start2, update2, update2)
		c.dial()
		out = append(out, c.say(strings.Replace(update2, `"u"`, `"v"`, 1))...)
		for i, want := range []string{`"seqNo":0`, `"seqNo":1`, `"seqNo":1`, `"seqNo":0`} {
			if !strings.Contains(out[i], want) || strings.Contains(out[i], "offline") {
				t.Errorf("event %d: %s", i, out[i])
			}
		}
	})
}

func TestBoots(t *testing.T) {
	with(t, "boot-again", ocppj.V16, func(c *talk) {
		c.say(boot16)
		c.tell(accepted)
		if c.hears() != accepted {
			t.Error("the charger did not hear the answer")
		}
		time.Sleep(25 * time.Second)
		synctest.Wait()
		out := c.far.took()
		if len(out) != 2 || !strings.HasPrefix(out[0], `[2,"b","BootNotification"`) {
			t.Errorf("%v", out)
		}
	})
	with(t, "no-boot", ocppj.V16, func(c *talk) {
		c.say(boot16)
		c.tell(accepted)
		c.hears()
		if out := c.say(status16); len(out) != 1 {
			t.Errorf("%v", out)
		}
		c.dial()
		if out := c.say(boot16, status16); len(out) != 0 {
			t.Errorf("%v", out)
		}
		if got := []string{c.hears(), c.hears()}; !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, `[3,"b",{"status":"Accepted"`) }) {
			t.Errorf("%v", got)
		}
		time.Sleep(time.Minute)
		if out := c.say(status16); len(out) != 1 {
			t.Errorf("a later status: %v", out)
		}
	})
}

func TestAnswers(t *testing.T) {
	with(t, "slow-answers:5s", ocppj.V16, func(c *talk) {
		c.tell(unlock16)
		c.hears()
		if out := c.say(unlocked); len(out) != 0 {
			t.Errorf("%v", out)
		}
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if out := c.far.took(); len(out) != 1 || out[0] != unlocked {
			t.Errorf("%v", out)
		}
	})
	with(t, "out-of-order", ocppj.V16, func(c *talk) {
		if out := c.say(`[3,"1",{}]`, `[3,"2",{}]`); !slices.Equal(out, []string{`[3,"2",{}]`, `[3,"1",{}]`}) {
			t.Errorf("%v", out)
		}
		c.say(`[3,"3",{}]`)
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if out := c.far.took(); !slices.Equal(out, []string{`[3,"3",{}]`}) {
			t.Errorf("%v", out)
		}
	})
	with(t, "foreign-words", ocppj.V16, func(c *talk) {
		c.tell(unlock16)
		c.hears()
		if out := c.say(unlocked); !slices.Equal(out, []string{`[3,"o",{"status":"Accepted"}]`}) {
			t.Errorf("%v", out)
		}
	})
}

func TestIdentities(t *testing.T) {
	with(t, "same-ids", ocppj.V16, func(c *talk) {
		out := c.say(status16)
		c.tell(`[3,"1",{}]`)
		if got := c.hears(); got != `[3,"n",{}]` {
			t.Errorf("the charger heard %s", got)
		}
		c.dial()
		out = append(out, c.say(start16)...)
		if !strings.HasPrefix(out[0], `[2,"1",`) || !strings.HasPrefix(out[1], `[2,"1",`) {
			t.Errorf("%v", out)
		}
	})
	with(t, "long-tags", ocppj.V16, func(c *talk) {
		if out := c.say(start16rt); !strings.Contains(out[0], `"AABBCCDD"`) {
			t.Errorf("%v", out)
		}
		c.tell(remote16)
		c.hears()
		if out := c.say(start16rt); !strings.Contains(out[0], `"AABBCCDD00"`) {
			t.Errorf("%v", out)
		}
	})
	with(t, "unnamed", ocppj.V16, func(c *talk) {
		if !c.far.login.Unnamed {
			t.Error("the handshake names a sub-protocol")
		}
	})
}

func TestHastyReset(t *testing.T) {
	with(t, "hasty-reset", ocppj.V16, func(c *talk) {
		c.say(stop16)
		c.tell(`[2,"r","Reset",{"type":"Hard"}]`)
		c.hears()
		c.say(stop16)
		if _, err := c.conn.Read(); err == nil {
			t.Error("the connection is still there")
		}
	})
}

// Everything has a name of its own and is described where people look.
func TestDescribed(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, p := range personality.All() {
		if seen[p.Name] || p.Does == "" || len(p.Versions) == 0 {
			t.Errorf("%+v", p)
		}
		seen[p.Name] = true
		if !strings.Contains(string(readme), "| `"+p.Name+"` | "+p.Does+" |") {
			t.Errorf("firmware-sim/README.md does not say: | `%s` | %s |", p.Name, p.Does)
		}
	}
	for _, bad := range []string{"grumpy", "slow-answers:never", "twice:5s"} {
		if _, err := personality.Find(bad); err == nil {
			t.Errorf("%s was found", bad)
		}
	}
}
