package ocpp

import (
	"time"

	"github.com/chargeyard/chargeyard/edge/internal/stationprofile"
	"github.com/chargeyard/chargeyard/shared/event"
)

// Recorder keeps the frames of stations; package recorder provides it. It is
// called on every frame: it copies what it keeps, and does not wait.
type Recorder interface {
	Record(id event.StationID, incoming bool, at time.Time, frame []byte)
}

// usual is the profile of a station that nobody knows.
var usual = &stationprofile.Profile{}

// own is what is configured for the station by name, as behaviours.
func (s *Station) own() stationprofile.Behaviour {
	b := s.Behaviour
	if s.Timeout > 0 {
		b.Timeout = s.Timeout
	}
	if s.MinimumA > 0 {
		b.MinimumA = s.MinimumA
	}
	if s.AssumeProtocol != "" {
		b.AssumeProtocol = s.AssumeProtocol
	}
	if s.NoPing {
		b.Ping = new(bool)
	}
	return b
}

// profile is how a station is to be treated that calls itself by these names: as
// configured for it by name, then by the profile that is named for it or fits.
func (s *Server) profile(config *Station, vendor, model, firmware string) *stationprofile.Profile {
	found := (*stationprofile.Profile)(nil)
	if book := s.cfg.StationProfiles; book != nil {
		if config.StationProfile != "" {
			found = book.Named(config.StationProfile)
		} else {
			found = book.Find(vendor, model, firmware)
		}
	}
	if found == nil {
		found = usual
	}
	own := config.own()
	if own.IsZero() {
		return found // shared by all of its kind
	}
	mine := *found
	mine.Behaviour = own.Over(found.Behaviour)
	return &mine
}

// Profile returns how the station is to be treated: never nil, not to be changed.
// It may be called from any goroutine.
func (c *Conversation) Profile() *stationprofile.Profile {
	if p := c.profile.Load(); p != nil {
		return p
	}
	return usual
}

// SetModel says what the station calls itself, and finds its profile by that. A
// dialect calls it at every boot, on the station's goroutine; what the station
// said at its last boot is set before Joined.
func (c *Conversation) SetModel(vendor, model, firmware string) {
	p := c.server.profile(c.config, vendor, model, firmware)
	before := c.profile.Swap(p)
	c.server.scores.model(c.id, vendor, model, firmware, p.Name)
	if p.Name != "" && (before == nil || before.Name != p.Name) {
		c.Log().Info("station profile", "profile", p.Name, "vendor", vendor, "model", model, "firmware", firmware)
	}
}

// timeout is how long the answer to one of our calls may take.
func (c *Conversation) timeout(action string) time.Duration {
	if t := c.Profile().TimeoutOf(action); t > 0 {
		return t
	}
	return c.server.cfg.Timeout
}

// patience is how long the station may be silent: clearly longer than what it is
// asked to do.
func (c *Conversation) patience() time.Duration {
	return max(3*c.Heartbeat(), c.server.cfg.ReadDeadlineMinimum)
}

// bootWait is how long a station that says nothing is sent nothing; 0: for ever.
func (c *Conversation) bootWait() time.Duration {
	p := c.Profile()
	switch {
	case p.BootWait > 0:
		return p.BootWait
	case stationprofile.On(p.BootFirst, false):
		return patientWait
	}
	return c.server.cfg.BootWait
}

// patientWait is how long a station that takes no call before its boot is given to
// boot.
const patientWait = 5 * time.Minute

// shows tells whether an answer to action has shown that the station takes calls.
func (c *Conversation) shows(action string) bool {
	return action == bootAction || !stationprofile.On(c.Profile().BootFirst, false)
}

// bootAction is the message of a start, in every version.
const bootAction = "BootNotification"
