package depot_test

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/central"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/charger"
	"github.com/chargeyard/chargeyard/firmware-sim/internal/depot"
	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/ocpp21"
	"github.com/chargeyard/chargeyard/shared/ocppj"
)

// shelf is where firmware is fetched and logs are put.
type shelf struct {
	mu  sync.Mutex
	put map[string]string
}

func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case r.Method == http.MethodPut:
		b, _ := io.ReadAll(r.Body)
		s.put[r.URL.Path] = string(b)
	case strings.HasPrefix(r.URL.Path, "/image"):
		_, _ = w.Write([]byte("image"))
	default:
		http.NotFound(w, r)
	}
}

// told lists the statuses that were told by an action, in order.
func told(all []central.Said, action string) []string {
	var statuses []string
	for _, s := range all {
		var p struct{ Status string }
		if s.Action == action && json.Unmarshal(s.Payload, &p) == nil {
			statuses = append(statuses, p.Status)
		}
	}
	return statuses
}

func (y *yard) told(action, want string) {
	y.t.Helper()
	y.waitFor(action+" "+want, func(all []central.Said) bool { return strings.Join(told(all, action), " ") == want })
}

// A station of OCPP 2 moves files for real.
func TestUpkeep2(t *testing.T) {
	s := &shelf{put: map[string]string{}}
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	system := central.New()
	t.Cleanup(system.Close)
	y := open(t, system, depot.Config{Scenario: load(t, "idle"), Version: ocppj.V201, Identity: "CP-1"})
	y.await("registered", func(v charger.View) bool { return v.Registered })

	y.must("GetLog", (&ocpp21.GetLogRequest{LogType: ocpp21.LogSecurityLog, RequestID: 1, Log: ocpp21.LogParameters{RemoteLocation: web.URL + "/logs/"}}).AppendJSON(nil), "Accepted")
	y.told("LogStatusNotification", "Uploading Uploaded")
	s.mu.Lock()
	if len(s.put) != 1 {
		t.Errorf("N01: %v", s.put)
	}
	s.mu.Unlock()

	sum := md5.Sum([]byte("image"))
	y.must("PublishFirmware", (&ocpp21.PublishFirmwareRequest{RequestID: 2, Location: web.URL + "/image.bin", Checksum: hex.EncodeToString(sum[:])}).AppendJSON(nil), "Accepted")
	y.told("PublishFirmwareStatusNotification", "Downloading Downloaded ChecksumVerified Published")

	y.must("UpdateFirmware", (&ocpp21.UpdateFirmwareRequest{RequestID: 3, Firmware: ocpp21.Firmware{Location: web.URL + "/image-9.9.9.bin", RetrieveDateTime: lenient.At(time.Now())}}).AppendJSON(nil), "Accepted")
	y.told("FirmwareStatusNotification", "Downloading Downloaded Installing InstallRebooting Installed")
	y.await("the new firmware", func(v charger.View) bool { return v.Firmware == "9.9.9" })
	y.must("UpdateFirmware", (&ocpp21.UpdateFirmwareRequest{RequestID: 4, Retries: new(int64), Firmware: ocpp21.Firmware{Location: web.URL + "/nothing", RetrieveDateTime: lenient.At(time.Now())}}).AppendJSON(nil), "Accepted")
	y.told("FirmwareStatusNotification", "Downloading Downloaded Installing InstallRebooting Installed Downloading DownloadFailed")
}

// Tests can say whatever a charger may say, and limit it as a site does.
func TestSay(t *testing.T) {
	system := central.New()
	t.Cleanup(system.Close)
	y := open(t, system, depot.Config{Scenario: load(t, "idle"), Version: ocppj.V21, Identity: "CP-1"})
	y.await("registered", func(v charger.View) bool { return v.Registered })
	for path, want := range map[string]int{
		`say {"action":"NotifyPriorityCharging","payload":{"transactionId":"T","activated":true}}`: http.StatusOK,
		`say {"action":"NotifyPeriodicEventStream","payload":{},"send":true}`:                      http.StatusNoContent,
		`say {"payload":{}}`:                         http.StatusBadRequest,
		`external-limit {"connector":0,"limit_a":8}`: http.StatusNoContent,
		`external-limit {"connector":3,"limit_a":8}`: http.StatusConflict,
	} {
		name, body, _ := strings.Cut(path, " ")
		if got := y.post("/stations/CP-1/"+name, body); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
	y.waitFor("what was said", func(all []central.Said) bool {
		seen := map[string]bool{}
		for _, s := range all {
			seen[s.Action] = true
		}
		return seen["NotifyPriorityCharging"] && seen["NotifyChargingLimit"]
	})
	older := open(t, system, depot.Config{Scenario: load(t, "idle"), Identity: "CP-2"})
	older.await("registered", func(v charger.View) bool { return v.Registered })
	if got := older.post("/stations/CP-2/external-limit", `{"limit_a":8}`); got != http.StatusConflict {
		t.Errorf("a limit from outside for 1.6: %d", got)
	}
}
