package v16

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp/job"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/lenient"
	"github.com/chargeyard/chargeyard/shared/ocpp16"
)

// listChunk is how many entries of a local list are sent at once where the charge
// point does not say how many it takes.
const listChunk = 20

// entriesOf turns entries into those of 1.6. Without a status an entry of a
// differential update removes the token. OCPP 1.6 §6.42.
func entriesOf(entries []event.ListEntry) []ocpp16.AuthorizationData {
	out := make([]ocpp16.AuthorizationData, len(entries))
	for i, e := range entries {
		out[i].IDTag = e.Token.Value
		if e.Status == "" {
			continue
		}
		info := ocpp16.IDTagInfo{Status: authorizationOf(e.Status), ParentIDTag: e.Parent}
		if e.Expires != nil {
			info.ExpiryDate = lenient.At(*e.Expires)
		}
		out[i].IDTagInfo = &info
	}
	return out
}

func (j *errand) sendLocalList(p *event.SendLocalListParams) (site.Outcome, error) {
	if p.Version <= 0 {
		return job.Rejectedf("version: expected more than 0, got %d", p.Version), nil
	}
	entries := entriesOf(p.Entries)
	if !p.Differential {
		for i := range entries {
			if entries[i].IDTagInfo == nil {
				return job.Rejectedf("entries[%d].status: expected one in a full list", i), nil
			}
		}
	}
	size := j.listChunk(len(entries))
	chunks := max((len(entries)+size-1)/size, 1)
	first := int64(p.Version - chunks + 1) // each part has its own version, the last one that of the list
	if first <= 0 {
		return job.Rejectedf("version: expected at least %d, because the list goes out in %d parts, got %d", chunks, chunks, p.Version), nil
	}
	for i := range chunks {
		request := &ocpp16.SendLocalListRequest{
			ListVersion:            first + int64(i),
			LocalAuthorizationList: entries[min(i*size, len(entries)):min((i+1)*size, len(entries))],
			UpdateType:             ocpp16.UpdateTypeDifferential,
		}
		if i == 0 && !p.Differential {
			request.UpdateType = ocpp16.UpdateTypeFull
		}
		word, err := j.sendPart(request)
		if err != nil {
			return site.Outcome{}, err
		}
		if word == ocpp16.UpdateStatusVersionMismatch {
			return j.mismatch(p, request, chunks)
		}
		if o := job.Judge(string(word), event.StateSucceeded); o.State != event.StateSucceeded {
			if i > 0 {
				o.State = event.StateFailed
				o.Reason += fmt.Sprintf(", to part %d of %d: its list is incomplete", i+1, chunks)
			}
			return o, nil
		}
	}
	return j.checkList(int64(p.Version))
}

func (j *errand) sendPart(request *ocpp16.SendLocalListRequest) (ocpp16.UpdateStatus, error) {
	var answer ocpp16.SendLocalListResponse
	if err := j.Call(request, &answer); err != nil {
		return "", err
	}
	return answer.Status.Fold(), nil
}

// mismatch deals with a version that the charge point does not take for an
// update. A full list is sent at once then, as large as it is; of a difference
// only the manager can make the whole.
func (j *errand) mismatch(p *event.SendLocalListParams, part *ocpp16.SendLocalListRequest, chunks int) (site.Outcome, error) {
	if p.Differential {
		has := "an unknown version"
		if version, err := j.listVersion(); err == nil {
			has = "version " + strconv.FormatInt(version, 10)
		}
		return job.Rejectedf("version mismatch: the charge point has %s, version %d is no update of it: send the full list", has, p.Version), nil
	}
	if chunks == 1 {
		return job.Rejectedf("version mismatch: the charge point refuses version %d of a full list", p.Version), nil
	}
	part.ListVersion, part.UpdateType, part.LocalAuthorizationList = int64(p.Version), ocpp16.UpdateTypeFull, entriesOf(p.Entries)
	word, err := j.sendPart(part)
	if err != nil {
		return site.Outcome{}, err
	}
	if o := job.Judge(string(word), event.StateSucceeded); o.State != event.StateSucceeded {
		return o, nil
	}
	return j.checkList(int64(p.Version))
}

// listChunk is how many entries go into one message.
func (j *errand) listChunk(n int) int {
	if n <= 1 {
		return 1
	}
	most, known := j.model.Load().Number(keyListChunk)
	if !known {
		most = listChunk
		values, _, err := j.ask(keyListChunk)
		if err == nil && len(values) > 0 {
			if told, err := strconv.Atoi(strings.TrimSpace(values[0].Value)); err == nil && told > 0 {
				most = told
			}
		}
		j.model.Load().Learn(keyListChunk, most)
	}
	return most
}

func (j *errand) listVersion() (int64, error) {
	var answer ocpp16.GetLocalListVersionResponse
	err := j.Call(&ocpp16.GetLocalListVersionRequest{}, &answer)
	return answer.ListVersion, err
}

// checkList compares the version of the list with what it should be.
func (j *errand) checkList(want int64) (site.Outcome, error) {
	version, err := j.listVersion()
	switch {
	case err != nil && job.Lacking(err):
		return site.Outcome{State: event.StateAccepted, Reason: "accepted, but the version cannot be read back: " + err.Error()}, nil
	case err != nil:
		return site.Outcome{}, err
	case version == -1: // OCPP 1.6 §5.10
		return job.Unsupportedf("the charge point has no local list"), nil
	case version != want:
		return job.Failedf("accepted, but the list reads back as version %d, expected %d", version, want), nil
	}
	return site.Outcome{State: event.StateSucceeded, Result: job.Result(map[string]int64{"version": version})}, nil
}
