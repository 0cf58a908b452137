package station_test

import (
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

// §3.5 and §3.5.4: who may charge, and who is asked.
func TestAuthorization(t *testing.T) {
	const off, blocked = "-", "Blocked"
	tests := []struct {
		name                 string
		list, cache          string // status of the token there, or none
		online               bool
		pre, offline, anyone string // LocalPreAuthorize, LocalAuthorizeOffline, AllowOfflineTxForUnknownId
		central              string // what the central system says
		asked, starts        bool
	}{
		{"online, unknown", off, off, true, "false", "true", "false", "Accepted", true, true},
		{"online, refused", off, off, true, "false", "true", "true", "Invalid", true, false},
		{"online, listed, is asked nevertheless", "Accepted", off, true, "false", "true", "false", "Accepted", true, true},
		{"online, listed, pre-authorized", "Accepted", off, true, "true", "true", "false", "Invalid", false, true},
		{"online, cached, pre-authorized", off, "Accepted", true, "true", "true", "false", "Invalid", false, true},
		{"online, listed as blocked, is asked", blocked, off, true, "true", "true", "false", "Accepted", true, true},
		{"the list beats the cache", blocked, "Accepted", false, "true", "true", "true", "", false, false},
		{"offline, listed", "Accepted", off, false, "false", "true", "false", "", false, true},
		{"offline, cached", off, "Accepted", false, "false", "true", "false", "", false, true},
		{"offline, listed, not allowed", "Accepted", off, false, "false", "false", "false", "", false, false},
		{"offline, unknown", off, off, false, "false", "true", "false", "", false, false},
		{"offline, unknown, anyone may", off, off, false, "false", "true", "true", "", false, true},
		{"offline, blocked, anyone may", blocked, off, false, "false", "true", "true", "", false, false},
		{"offline, cached as invalid, anyone may", off, "Invalid", false, "false", "true", "true", "", false, false},
		{"offline, expired", "expired", off, false, "false", "true", "true", "", false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			central := "Accepted"
			live(t, func(w *world) {
				if tt.cache != off {
					central = tt.cache
					w.plug(1)
					w.tap(1, "CAFE01") // whoever was asked once is in the cache
					w.unplug(1)
				}
				if tt.list != off {
					info := &ocpp16.IDTagInfo{Status: ocpp16.AuthorizationStatus(tt.list)}
					if tt.list == "expired" {
						info = &ocpp16.IDTagInfo{Status: "Accepted", ExpiryDate: lenient.At(time.Now().Add(time.Minute).Truncate(time.Second))}
					}
					r := ask[*ocpp16.SendLocalListResponse](w, &ocpp16.SendLocalListRequest{
						ListVersion: 1, UpdateType: ocpp16.UpdateTypeFull, LocalAuthorizationList: []ocpp16.AuthorizationData{{IDTag: "cafe01", IDTagInfo: info}},
					})
					if r.Status != ocpp16.UpdateStatusAccepted {
						t.Fatal(r.Status)
					}
					w.pass(2 * time.Minute)
				}
				if central = tt.central; !tt.online {
					w.unplugCable(true)
				}
				w.forget()
				w.plug(1)
				w.tap(1, "CAFE01")
				if asked := len(of[*ocpp16.AuthorizeRequest](w)) > 0; asked != tt.asked {
					t.Errorf("asked: %v, want %v", asked, tt.asked)
				}
				if started := w.view().Connectors[0].Transaction != ""; started != tt.starts {
					t.Errorf("started: %v, want %v", started, tt.starts)
				}
			}, keys("LocalPreAuthorize", tt.pre, "LocalAuthorizeOffline", tt.offline, "AllowOfflineTxForUnknownId", tt.anyone), decides(func(s said) any {
				if s.req.Action() == ocpp16.ActionAuthorize {
					return &ocpp16.AuthorizeResponse{IDTagInfo: ocpp16.IDTagInfo{Status: ocpp16.AuthorizationStatus(central)}}
				}
				return nil
			}))
		})
	}
}

// §3.5.4: what happens to a running transaction whose token is refused.
func TestRefusedAfterStart(t *testing.T) {
	tests := []struct {
		name, stop, energy string
		status             string
		wh                 int64 // charged after an hour, at most; 0: nothing
		reason             ocpp16.Reason
	}{
		{"stops", "true", "0", "Finishing", 0, ocpp16.ReasonDeAuthorized},
		{"gets no energy", "false", "0", "SuspendedEVSE", 0, ""},
		{"gets enough to drive away", "false", "500", "SuspendedEVSE", 500, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			live(t, func(w *world) {
				w.plug(1)
				w.tap(1, "A")
				w.pass(time.Hour)
				v := w.view().Connectors[0]
				if string(v.Status) != tt.status || v.RegisterWh-1000 < tt.wh || v.RegisterWh-1000 > tt.wh+10 {
					t.Errorf("%s after %d Wh, want %s after %d", v.Status, v.RegisterWh-1000, tt.status, tt.wh)
				}
				stops := of[*ocpp16.StopTransactionRequest](w)
				if tt.reason == "" && len(stops) == 0 {
					return
				}
				if len(stops) != 1 || stops[0].Reason != tt.reason || stops[0].TransactionID != 9 {
					t.Errorf("stops %+v, want one of reason %q", stops, tt.reason)
				}
			}, keys("StopTransactionOnInvalidId", tt.stop, "MaxEnergyOnInvalidId", tt.energy), decides(func(s said) any {
				if s.req.Action() == ocpp16.ActionStartTransaction {
					return &ocpp16.StartTransactionResponse{TransactionID: 9, IDTagInfo: ocpp16.IDTagInfo{Status: ocpp16.AuthorizationStatusBlocked}}
				}
				return nil
			}))
		})
	}
}

// §3.10, §4.1: another card of the group may stop; it is asked about, the card
// that started is not.
func TestGroups(t *testing.T) {
	live(t, func(w *world) {
		w.charge(1, "A1")
		w.forget()
		w.tap(1, "B1")
		equal(t, "messages for a card of another group", w.actions(), []string{"Authorize"})
		w.tap(1, "A2")
		stops := of[*ocpp16.StopTransactionRequest](w)
		if len(stops) != 1 || stops[0].IDTag != "A2" || stops[0].Reason != ocpp16.ReasonLocal {
			t.Errorf("stops %+v", stops)
		}
	}, decides(func(s said) any {
		if r, ok := s.req.(*ocpp16.AuthorizeRequest); ok {
			info := accepted()
			info.ParentIDTag = "GROUP-" + r.IDTag[:1]
			return &ocpp16.AuthorizeResponse{IDTagInfo: info}
		}
		return nil
	}))
}

// A card, then the plug: within ConnectionTimeOut (§9.1.6).
func TestCardFirst(t *testing.T) {
	live(t, func(w *world) {
		w.tap(1, "A")
		equal(t, "statuses", w.statuses(1), []string{"Available", "Preparing"})
		w.pass(20 * time.Second)
		w.plug(1)
		equal(t, "statuses with the plug", w.statuses(1), []string{"Available", "Preparing", "Charging"})
		w.unplug(1)
		w.forget()
		w.tap(1, "A")
		w.pass(31 * time.Second)
		equal(t, "statuses without a plug", w.statuses(1), []string{"Preparing", "Available"})
		w.plug(1)
		if got := w.view().Connectors[0].Transaction; got != "" {
			t.Errorf("transaction %s began after the time", got)
		}
	}, keys("ConnectionTimeOut", "30"))
}

// Errata §3.20 (B6)
func TestCarWithoutCard(t *testing.T) {
	live(t, func(w *world) {
		w.plug(1)
		w.pass(31 * time.Second)
		equal(t, "statuses", w.statuses(1), []string{"Available", "Preparing", "Finishing"})
		w.tap(0, "A") // of somebody who has not plugged in yet
		if v := w.view(); v.Transaction() != "" {
			t.Errorf("the card started somebody else's car: %+v", v)
		}
	}, connectors(2), keys("ConnectionTimeOut", "30"))
}

// §3.5.2: the list keeps its word, and the contradiction is reported.
func TestLocalListConflict(t *testing.T) {
	live(t, func(w *world) {
		ask[*ocpp16.SendLocalListResponse](w, &ocpp16.SendLocalListRequest{
			ListVersion: 3, UpdateType: ocpp16.UpdateTypeFull,
			LocalAuthorizationList: []ocpp16.AuthorizationData{{IDTag: "A", IDTagInfo: &ocpp16.IDTagInfo{Status: "Accepted"}}},
		})
		w.plug(1)
		w.tap(1, "A")
		equal(t, "statuses of the whole", w.statuses(0), []string{"Available", "Available/LocalListConflict"})
	}, decides(func(s said) any {
		if s.req.Action() == ocpp16.ActionAuthorize {
			return &ocpp16.AuthorizeResponse{IDTagInfo: ocpp16.IDTagInfo{Status: ocpp16.AuthorizationStatusBlocked}}
		}
		return nil
	}))
}

// §5.15
func TestLocalList(t *testing.T) {
	full, diff := ocpp16.UpdateTypeFull, ocpp16.UpdateTypeDifferential
	entry := func(tag, status string) ocpp16.AuthorizationData {
		if status == "" {
			return ocpp16.AuthorizationData{IDTag: tag}
		}
		return ocpp16.AuthorizationData{IDTag: tag, IDTagInfo: &ocpp16.IDTagInfo{Status: ocpp16.AuthorizationStatus(status)}}
	}
	steps := []struct {
		name    string
		kind    ocpp16.UpdateType
		version int64
		entries []ocpp16.AuthorizationData
		want    ocpp16.UpdateStatus
		holds   int64
	}{
		{"differential on nothing", diff, 1, []ocpp16.AuthorizationData{entry("A", "Accepted")}, ocpp16.UpdateStatusAccepted, 1},
		{"same version", diff, 1, []ocpp16.AuthorizationData{entry("B", "Accepted")}, ocpp16.UpdateStatusVersionMismatch, 1},
		{"full of a lower version", full, 1, []ocpp16.AuthorizationData{entry("C", "Accepted"), entry("D", "Blocked")}, ocpp16.UpdateStatusAccepted, 1},
		{"entry without info in a full list", full, 5, []ocpp16.AuthorizationData{entry("C", "")}, ocpp16.UpdateStatusFailed, 1},
		{"version 0", full, 0, []ocpp16.AuthorizationData{entry("C", "Accepted")}, ocpp16.UpdateStatusFailed, 1},
		{"removes one", diff, 7, []ocpp16.AuthorizationData{entry("C", "")}, ocpp16.UpdateStatusAccepted, 7},
		{"removes the last", diff, 8, []ocpp16.AuthorizationData{entry("D", "")}, ocpp16.UpdateStatusAccepted, 0},
	}
	live(t, func(w *world) {
		for _, s := range steps {
			r := ask[*ocpp16.SendLocalListResponse](w, &ocpp16.SendLocalListRequest{ListVersion: s.version, UpdateType: s.kind, LocalAuthorizationList: s.entries})
			v := ask[*ocpp16.GetLocalListVersionResponse](w, &ocpp16.GetLocalListVersionRequest{})
			if r.Status != s.want || v.ListVersion != s.holds {
				t.Errorf("%s: %s, version %d; want %s, %d", s.name, r.Status, v.ListVersion, s.want, s.holds)
			}
		}
	})
}
