package site

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chargeyard/chargeyard/shared/event"
)

func TestRegistration(t *testing.T) {
	pend := Config{PendUnknown: true, Stations: []Admission{{Station: "FILE"}, {Station: "HELD", Registration: RegistrationPending}}}
	tests := []struct {
		name   string
		cfg    Config
		listed []Admission
		id     event.StationID
		want   string
	}{
		{name: "B01 unknown, and that is fine", id: "CP", want: RegistrationAccepted},
		{name: "B02 unknown", cfg: pend, id: "CP", want: RegistrationPending},
		{name: "B01 in the file", cfg: pend, id: "FILE", want: RegistrationAccepted},
		{name: "B02 held by the file", cfg: pend, id: "HELD", want: RegistrationPending},
		{name: "B01 admitted", cfg: pend, listed: []Admission{{Station: "CP"}}, id: "CP", want: RegistrationAccepted},
		{name: "B02 held", listed: []Admission{{Station: "CP", Registration: RegistrationPending}}, id: "CP", want: RegistrationPending},
		{name: "B03 rejected", cfg: pend, listed: []Admission{{Station: "CP", Registration: RegistrationRejected}}, id: "CP", want: RegistrationRejected},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, tt.cfg, func(t *testing.T, r *rig) {
				r.site.SetStations(tt.listed)
				r.at(tt.id, func(st *Station) {
					if _, err := st.Connected(new(fakeDevice), ConnectionInfo{Protocol: "ocpp2.0.1"}); err != nil {
						t.Error(err)
					}
					got, err := st.Booted(BootReport{Vendor: "Acme"})
					if err != nil || got.Status != tt.want || st.Registration() != tt.want || got.Interval <= 0 {
						t.Errorf("answered %+v, %v; want %s", got, err, tt.want)
					}
				})
				if b := kept[*event.StationBooted](r.journal); len(b) != 1 || b[0].Registration != tt.want {
					t.Errorf("told %+v", b)
				}
			})
		})
	}
}

// A pending station may be configured and does not charge; once it is admitted it
// is asked to boot again. OCPP 2.0.1 B02.FR.01, B02.FR.05, B03.FR.03.
func TestPending(t *testing.T) {
	bubble(t, Config{PendUnknown: true}, func(t *testing.T, r *rig) {
		if err := r.site.SetPlan(Plan{LimitA: map[event.StationID]float64{"CP": 16}}); err != nil {
			t.Fatal(err)
		}
		d, _ := r.connect("CP", 1)
		d.answer = obey(delivered, succeeded)
		r.pass(5 * time.Minute)
		if d.refresh != 0 || len(d.orders) != 0 {
			t.Errorf("asked %d times, ordered %v", d.refresh, d.orders)
		}
		r.execute(event.Command{ID: "start", Type: event.CommandStart, Station: "CP", Params: params(event.StartParams{Token: card("A")})})
		r.execute(event.Command{ID: "read", Type: event.CommandGetConfiguration, Station: "CP"})
		r.wantStates("start", event.StateRejected)
		r.wantStates("read", delivered, succeeded)

		r.site.SetStations([]Admission{{Station: "CP"}})
		r.pass(time.Second)
		if d.refresh != 1 {
			t.Errorf("asked %d times to boot again, want once", d.refresh)
		}
		r.at("CP", func(st *Station) {
			if got, err := st.Booted(BootReport{Vendor: "Acme", Model: "One"}); err != nil || got.Status != RegistrationAccepted {
				t.Errorf("answered %+v, %v", got, err)
			}
		})
		r.execute(event.Command{ID: "again", Type: event.CommandStart, Station: "CP", Params: params(event.StartParams{Token: card("A")})})
		r.wantStates("again", delivered, succeeded)
		if !slices.ContainsFunc(d.orders, func(o Order) bool { return o.Type == event.CommandSetLimit && o.Standing }) {
			t.Errorf("the plan was not told at the boot: %+v", d.orders)
		}

		r.site.SetStations([]Admission{{Station: "CP", Registration: RegistrationRejected}})
		r.pass(time.Second)
		r.at("CP", func(st *Station) {
			if got, err := st.Booted(BootReport{Vendor: "Acme", Model: "One"}); err != nil || got.Status != RegistrationRejected {
				t.Errorf("answered %+v, %v", got, err)
			}
		})
		asked := d.refresh
		r.execute(event.Command{ID: "read2", Type: event.CommandGetConfiguration, Station: "CP"})
		r.wantStates("read2", event.StateRejected)
		r.site.SetStations([]Admission{{Station: "CP"}})
		r.pass(time.Second)
		if d.refresh != asked {
			t.Error("a rejected station was sent something")
		}
	})
}

func TestPasswords(t *testing.T) {
	good := func(r *rig, want ...string) {
		r.t.Helper()
		if a, ok := r.site.Admitted("CP"); !ok || !slices.Equal(a.PasswordHashes, want) {
			r.t.Errorf("good are %q, want %q", a.PasswordHashes, want)
		}
	}
	change := func(r *rig, hash string) {
		r.t.Helper()
		r.at("CP", func(st *Station) {
			if err := st.PasswordChanged(hash); err != nil {
				r.t.Error(err)
			}
		})
	}
	list := func(r *rig, hashes ...string) {
		r.site.SetStations([]Admission{{Station: "CP", PasswordHashes: hashes}})
	}
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		list(r, "a")
		good(r, "a")
		change(r, "b") // A01: the old one is good until the new one is seen
		good(r, "b", "a")
		r.site.PasswordSeen("CP", "a")
		good(r, "b", "a")
		r.restart()
		list(r, "a")
		good(r, "b", "a")
		r.site.PasswordSeen("CP", "b")
		good(r, "b")
		r.restart()
		list(r, "a")
		good(r, "b")
		list(r, "c") // somebody names another one
		good(r, "c", "b")
		r.site.PasswordSeen("CP", "c")
		good(r, "c")
		list(r, "c")
		good(r, "c")
	})
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		list(r)
		change(r, "first")
		good(r, "first", "")
		r.site.PasswordSeen("CP", "first")
		good(r, "first")
		for i := range 10 {
			change(r, fmt.Sprint(i))
		}
		if a, _ := r.site.Admitted("CP"); len(a.PasswordHashes) > maxPasswords || a.PasswordHashes[0] != "9" {
			t.Errorf("good are %q", a.PasswordHashes)
		}
		r.journal.refuse(func(Change) bool { return true })
		r.at("CP", func(st *Station) {
			if err := st.PasswordChanged("lost"); !errors.Is(err, ErrNotKept) {
				t.Errorf("changed without being kept: %v", err)
			}
		})
	})
}

func TestRefused(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		for range 5 {
			r.site.Refused("CP", SecurityReport{Event: "FailedAuthentication", Info: "10.0.0.9"}, true)
		}
		for i := range 300 {
			r.site.Refused(event.StationID(fmt.Sprint("X", i)), SecurityReport{Event: "UnknownStation"}, false)
		}
		if n := len(r.site.Stations()); n != 0 {
			t.Errorf("%d stations are known by having been refused", n)
		}
		r.pass(3 * time.Minute)
		var told []string
		for _, s := range kept[*event.StationSecurity](r.journal) {
			if s.Event != "UnknownStation" {
				told = append(told, fmt.Sprint(s.Event, s.Count))
			}
		}
		if want := []string{"FailedAuthentication0", "FailedAuthentication4"}; !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
		if n := len(kept[*event.StationSecurity](r.journal)) - 2; n >= maxRefused+1 || n < maxRefused-1 {
			t.Errorf("%d strangers are listed", n)
		}
		if a := kept[*event.GatewayAlarm](r.journal); len(a) == 0 || a[0].Alarm != "many_strangers" {
			t.Errorf("alarms %+v", a)
		}
		from := len(r.journal.events)
		r.site.Refused("X1", SecurityReport{Event: "UnknownStation"}, false)
		if len(r.journal.events) != from+1 {
			t.Error("who was quiet for minutes is no longer told of")
		}
	})
}

// chainOf is a certificate with a serial number, PEM.
func chainOf(t *testing.T, serial int64) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: base.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// Command sign_certificate is over once the station uses what it was given.
func TestChainInUse(t *testing.T) {
	chain := chainOf(t, 0x1a2b)
	tests := []struct {
		name    string
		profile int
		kind    string
		back    string // serial of the certificate with which it comes back
		want    []event.CommandState
	}{
		{name: "A02 it comes back with it", profile: 3, back: "1a2b", want: []event.CommandState{delivered, agreed, succeeded}},
		{name: "it comes back with the old one", profile: 3, back: "7", want: []event.CommandState{delivered, agreed}},
		{name: "it does not connect with certificates", profile: 1, want: []event.CommandState{delivered, succeeded}},
		{name: "the certificate is for cars", profile: 3, kind: "v2g", want: []event.CommandState{delivered, succeeded}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, r *rig) {
				d, _ := r.connect("CP", 1)
				r.at("CP", func(st *Station) { st.info.SecurityProfile = tt.profile })
				d.answer = obey(delivered, agreed)
				r.execute(event.Command{ID: "c", Type: event.CommandSignCertificate, Station: "CP", Params: params(event.SignCertificateParams{Chain: chain, Kind: tt.kind})})
				r.at("CP", func(st *Station) {
					if _, err := st.Connected(new(fakeDevice), ConnectionInfo{SecurityProfile: tt.profile, Certificate: tt.back}); err != nil {
						t.Error(err)
					}
				})
				r.wantStates("c", tt.want...)
			})
		})
	}
}

type fakeSigner struct {
	wait  time.Duration
	err   error
	asked []string
}

func (s *fakeSigner) Sign(ctx context.Context, id event.StationID, kind, csr string) (string, error) {
	s.asked = append(s.asked, fmt.Sprint(id, " ", kind, " ", csr))
	select {
	case <-time.After(s.wait):
	case <-ctx.Done():
		return "", ctx.Err()
	}
	return "signed " + csr, s.err
}

func TestSigning(t *testing.T) {
	want := func(t *testing.T, d *fakeDevice, chains ...string) {
		t.Helper()
		synctest.Wait()
		var got []string
		for _, o := range d.orders {
			if p, ok := o.Params.(*event.SignCertificateParams); ok && o.Standing {
				got = append(got, p.Kind+" "+p.Chain)
			}
		}
		if !slices.Equal(got, chains) {
			t.Errorf("handed %q, want %q", got, chains)
		}
	}
	ask := func(r *rig, kind, csr string) {
		r.at("CP", func(st *Station) {
			if err := st.Certificate(CertificateReport{CSR: csr, Kind: kind}); err != nil {
				r.t.Error(err)
			}
		})
	}
	t.Run("A02 by the site", func(t *testing.T) {
		s := &fakeSigner{wait: 5 * time.Second}
		bubble(t, Config{Signer: s}, func(t *testing.T, r *rig) {
			r.manager.answers = map[string]string{QuestionSignCertificate: `{"chain":"theirs"}`}
			d, _ := r.connect("CP", 1)
			d.answer = obey(delivered, agreed)
			ask(r, "", "one")
			ask(r, "", "one")    // again, before the first is signed
			ask(r, "v2g", "two") // which another authority signs
			r.pass(10 * time.Second)
			want(t, d, "v2g theirs", "station signed one")
			if want := []string{"CP station one"}; !slices.Equal(s.asked, want) {
				t.Errorf("signed %q, want %q", s.asked, want)
			}
		})
	})
	t.Run("by the manager, after the station was away", func(t *testing.T) {
		bubble(t, Config{}, func(t *testing.T, r *rig) {
			r.manager.answers = map[string]string{QuestionSignCertificate: `{"chain":"theirs"}`}
			d, c := r.connect("CP", 1) // which does not answer
			ask(r, "", "one")
			r.pass(time.Second)
			want(t, d, "station theirs")
			if q := r.manager.questions; len(q) != 1 || string(q[0].Payload) != `{"csr":"one","kind":"station"}` {
				t.Errorf("asked %+v", q)
			}
			r.at("CP", func(st *Station) {
				if err := st.Disconnected(c, 1006, "gone"); err != nil {
					t.Error(err)
				}
			})
			d2, _ := r.connect("CP", 1)
			r.pass(time.Second)
			want(t, d2, "station theirs")
		})
	})
	t.Run("nobody signs", func(t *testing.T) {
		bubble(t, Config{}, func(t *testing.T, r *rig) {
			d, _ := r.connect("CP", 1)
			ask(r, "", "one")
			r.pass(time.Minute)
			want(t, d)
			if a := kept[*event.GatewayAlarm](r.journal); len(a) != 0 {
				t.Errorf("alarms %+v", a)
			}
		})
	})
	t.Run("the site cannot", func(t *testing.T) {
		bubble(t, Config{Signer: &fakeSigner{err: errors.New("no key")}}, func(t *testing.T, r *rig) {
			d, _ := r.connect("CP", 1)
			ask(r, "", "one")
			r.pass(time.Minute)
			want(t, d)
			if a := kept[*event.GatewayAlarm](r.journal); len(a) != 1 || a[0].Alarm != "certificate_not_signed" {
				t.Errorf("alarms %+v", a)
			}
		})
	})
	t.Run("the site stops meanwhile", func(t *testing.T) {
		bubble(t, Config{Signer: &fakeSigner{wait: time.Hour}}, func(t *testing.T, r *rig) {
			r.connect("CP", 1)
			ask(r, "", "one")
			r.shutdown() // returns, and leaves no goroutine
		})
	})
}

func TestAsk(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		r.manager.answers = map[string]string{QuestionVATNumber: `{"status":"Accepted"}`}
		ask := func(kind string) (string, error) {
			var raw []byte
			var err error
			r.at("CP", func(st *Station) { raw, err = st.Ask(Question{Kind: kind}, time.Second) })
			return string(raw), err
		}
		if got, err := ask(QuestionVATNumber); err != nil || got != `{"status":"Accepted"}` {
			t.Errorf("answered %s, %v", got, err)
		}
		if _, err := ask(QuestionData); !errors.Is(err, ErrUnsupported) {
			t.Errorf("answered %v", err)
		}
		r.manager.mute = true
		begun := time.Now()
		if _, err := ask(QuestionData); !errors.Is(err, ErrManagerAway) || time.Since(begun) != time.Second {
			t.Errorf("answered %v after %v", err, time.Since(begun))
		}
		r.manager.mute, r.manager.away = false, true
		begun = time.Now()
		if _, err := ask(QuestionData); !errors.Is(err, ErrManagerAway) || time.Since(begun) != 0 {
			t.Errorf("answered %v after %v", err, time.Since(begun))
		}
		// so does an unknown token: the offline policy decides at once
		if out := r.begin("CP", 1, "NEW", 1); out.Decision != invalid || time.Since(begun) != 0 {
			t.Errorf("decided %q after %v", out.Decision, time.Since(begun))
		}
	})
}

// What stations say beside sessions.
func TestFurtherReports(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		d, _ := r.connect2("CP", 1)
		d.answer = obey(delivered, agreed)
		r.execute(event.Command{ID: "any", Type: event.CommandReserve, Station: "CP", Params: params(event.ReserveParams{Reservation: 7, Token: card("A"), Until: base.Add(time.Hour)})})
		r.wantStates("any", delivered, succeeded) // H01: of any place, which no status shows
		r.execute(event.Command{ID: "own", Type: event.CommandTrigger, Station: "CP", Params: params(event.TriggerParams{Message: "custom:Dance"})})
		r.wantStates("own", delivered, succeeded)
		from := len(r.journal.events)
		r.at("CP", func(st *Station) {
			for _, err := range []error{
				st.Reservation(ReservationReport{Reservation: 7, Status: "removed"}),
				st.Reservation(ReservationReport{Reservation: 8, Status: "expired"}),
				st.ExternalLimit(ExternalLimit{EVSE: 1, Source: "ems", LimitA: p(10.0), Info: "heat pump"}),
				st.ExternalLimit(ExternalLimit{EVSE: 1, Source: "ems", Cleared: true}),
				st.Deviations([]event.Variable{{Variable: "late_answer", Value: "3"}}),
				st.Deviations(nil),
				st.Configuration(ConfigurationReport{Variables: []event.Variable{{Component: "C", Variable: "V"}}, Report: 4, Part: 2, Complete: true}),
			} {
				if err != nil {
					t.Error(err)
				}
			}
			if len(st.reservations) != 0 {
				t.Errorf("reservations %+v", st.reservations)
			}
			if b := st.Boot(); b.Vendor != "Acme" {
				t.Errorf("boot data %+v", b)
			}
		})
		want := []string{"0/0 reservation 7 cancelled", "0/0 reservation 8 expired", "1/0 profile effective ems heat pump", "1/0 profile ended ems"}
		if got := story(r.journal, from); !slices.Equal(got, want) {
			t.Errorf("told %q, want %q", got, want)
		}
		c := kept[*event.StationConfiguration](r.journal)
		if len(c) != 2 || c[0].Variables[0].Component != ComponentDeviations || !c[0].Variables[0].ReadOnly || !c[1].Complete || c[1].Report != 4 || c[1].Part != 2 {
			t.Errorf("configurations %+v", c)
		}
	})
}

// B12: a reset that waits for the end of a session is not given up before.
func TestScheduledReset(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, r *rig) {
		d, _ := r.connect2("CP", 1)
		d.answer = func(_ Order, report func(Outcome)) {
			report(Outcome{State: delivered})
			report(Outcome{State: agreed, Reason: "Scheduled"})
		}
		r.tell("CP", (&step2{step: started, at: 1, evse: 1, conn: 1, trigger: "authorized"}).report())
		r.execute(event.Command{ID: "r", Type: event.CommandReset, Station: "CP", Expires: r.now().Add(time.Hour)})
		r.pass(2 * time.Hour)
		r.wantStates("r", delivered, agreed)
		r.tell("CP", (&step2{step: finish, seq: 1, at: 7000, trigger: "local"}).report())
		r.at("CP", func(st *Station) {
			if _, err := st.Booted(BootReport{Vendor: "Acme", Model: "One", Reason: "ScheduledReset"}); err != nil {
				t.Error(err)
			}
		})
		r.wantStates("r", delivered, agreed, succeeded)
	})
}
