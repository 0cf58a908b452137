package v201

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp/job"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/ocpp201"
)

// fewEntries is how many entries of a local list are sent at once where the
// station does not say how many it takes.
const fewEntries = 20

// entriesOf turns entries into those of 2.x. Without a status an entry of a
// differential update removes the token. OCPP 2.0.1 D01.FR.17.
func entriesOf(entries []event.ListEntry) []ocpp201.AuthorizationData {
	out := make([]ocpp201.AuthorizationData, len(entries))
	for i, e := range entries {
		out[i].IDToken = idTokenOf(e.Token)
		if e.Status == "" {
			continue
		}
		info := ocpp201.IDTokenInfo{Status: authorizationOf(e.Status), GroupIDToken: groupOf(e.Parent)}
		if e.Expires != nil {
			info.CacheExpiryDateTime = lenient.At(*e.Expires)
		}
		out[i].IDTokenInfo = &info
	}
	return out
}

func (j *errand) sendLocalList(p *event.SendLocalListParams) (site.Outcome, error) {
	if p.Version <= 0 { // OCPP 2.0.1 D01.FR.18
		return job.Rejectedf("version: expected more than 0, got %d", p.Version), nil
	}
	entries := entriesOf(p.Entries)
	if !p.Differential {
		for i := range entries {
			if entries[i].IDTokenInfo == nil { // D01.FR.16
				return job.Rejectedf("entries[%d].status: expected one in a full list", i), nil
			}
		}
	}
	parts := fill(entries, j.listRoom(len(entries)), func(e *ocpp201.AuthorizationData) int { return len(e.AppendJSON(nil)) })
	if len(parts) == 0 {
		parts = [][]ocpp201.AuthorizationData{nil} // an empty list empties the station's: D01.FR.04
	}
	first := int64(p.Version - len(parts) + 1) // each part has its own version, the last one that of the list
	if first <= 0 {
		return job.Rejectedf("version: expected at least %d, because the list goes out in %d parts, got %d", len(parts), len(parts), p.Version), nil
	}
	for i := range parts {
		request := &ocpp201.SendLocalListRequest{
			VersionNumber: first + int64(i), LocalAuthorizationList: parts[i], UpdateType: ocpp201.UpdateDifferential,
		}
		if i == 0 && !p.Differential {
			request.UpdateType = ocpp201.UpdateFull
		}
		answer, err := j.sendPart(request)
		if err != nil {
			return site.Outcome{}, err
		}
		if answer.Status.Fold() == ocpp201.SendLocalListStatusVersionMismatch {
			return j.mismatch(p, entries, len(parts))
		}
		if o := judgeList(answer); o.State != event.StateSucceeded {
			if i > 0 {
				o.State = event.StateFailed
				o.Reason += fmt.Sprintf(", to part %d of %d: its list is incomplete", i+1, len(parts))
			}
			return o, nil
		}
	}
	return j.checkList(int64(p.Version))
}

func (j *errand) sendPart(request *ocpp201.SendLocalListRequest) (*ocpp201.SendLocalListResponse, error) {
	var answer ocpp201.SendLocalListResponse
	err := j.Call(request, &answer)
	return &answer, err
}

func judgeList(answer *ocpp201.SendLocalListResponse) site.Outcome {
	o := job.Judge(string(answer.Status), event.StateSucceeded, because(answer.StatusInfo))
	if answer.Status.Fold() == ocpp201.SendLocalListStatusFailed {
		o.State = event.StateFailed
	}
	return o
}

// mismatch deals with a version that the station does not take for an update. A
// full list is sent at once then, as large as it is; of a difference only the
// manager can make the whole.
func (j *errand) mismatch(p *event.SendLocalListParams, entries []ocpp201.AuthorizationData, parts int) (site.Outcome, error) {
	if p.Differential {
		has := "an unknown version"
		if version, err := j.listVersion(); err == nil {
			has = "version " + strconv.FormatInt(version, 10)
		}
		return job.Rejectedf("version mismatch: the station has %s, version %d is no update of it: send the full list", has, p.Version), nil
	}
	if parts == 1 {
		return job.Rejectedf("version mismatch: the station refuses version %d of a full list", p.Version), nil
	}
	answer, err := j.sendPart(&ocpp201.SendLocalListRequest{
		VersionNumber: int64(p.Version), LocalAuthorizationList: entries, UpdateType: ocpp201.UpdateFull,
	})
	if err != nil {
		return site.Outcome{}, err
	}
	if o := judgeList(answer); o.State != event.StateSucceeded {
		return o, nil
	}
	return j.checkList(int64(p.Version))
}

// listRoom is how many entries, and how many bytes, go into one message. OCPP
// 2.0.1 D01.FR.11, D01.FR.12.
func (j *errand) listRoom(n int) room {
	const items, bytes = "SendLocalList items", "SendLocalList bytes"
	if n <= 1 {
		return room{items: 1}
	}
	memory := j.memory()
	if _, asked := memory.Number(items); !asked {
		r := room{items: fewEntries}
		values, err := j.ask(variable("LocalAuthListCtrlr", "ItemsPerMessage", ""), variable("LocalAuthListCtrlr", "BytesPerMessage", ""))
		if err != nil {
			return r
		}
		for i := range values {
			n, err := strconv.Atoi(strings.TrimSpace(values[i].AttributeValue))
			switch {
			case err != nil || n <= 0:
			case strings.EqualFold(values[i].Variable.Name, "ItemsPerMessage"):
				r.items = n
			case strings.EqualFold(values[i].Variable.Name, "BytesPerMessage"):
				r.bytes = n
			}
		}
		memory.Learn(bytes, r.bytes)
		memory.Learn(items, r.items)
		return r
	}
	var r room
	r.items, _ = memory.Number(items)
	r.bytes, _ = memory.Number(bytes)
	return r
}

func (j *errand) listVersion() (int64, error) {
	var answer ocpp201.GetLocalListVersionResponse
	err := j.Call(&ocpp201.GetLocalListVersionRequest{}, &answer)
	return answer.VersionNumber, err
}

// checkList compares the version of the list with what it should be. OCPP 2.0.1
// D02: 0 says that there is none.
func (j *errand) checkList(want int64) (site.Outcome, error) {
	version, err := j.listVersion()
	switch {
	case err != nil && job.Lacking(err):
		return site.Outcome{State: event.StateAccepted, Reason: "accepted, but the version cannot be read back: " + err.Error()}, nil
	case err != nil:
		return site.Outcome{}, err
	case version != want:
		return job.Failedf("accepted, but the list reads back as version %d, expected %d", version, want), nil
	}
	return site.Outcome{State: event.StateSucceeded, Result: job.Result(map[string]int64{"version": version})}, nil
}
