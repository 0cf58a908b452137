package v201

import (
	"github.com/chargeyard/chargeyard/edge/internal/ocpp/job"
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
)

// look asks whether the effect of an order is there that may or may not have been
// sent before the gateway fell. Nothing is sent again; what leaves no trace that
// can be read stays undecided.
func (j *errand) look() (site.Outcome, error) {
	switch p := j.Order.Params.(type) {
	case *event.SetLimitParams:
		return j.lookAtLimit(p)
	case *event.SetConfigurationParams:
		o, err := j.readBack(p.Variables, nil)
		if o.State == event.StateAccepted {
			return job.Undecidedf("%s", o.Reason), err
		}
		return o, err
	case *event.SendLocalListParams:
		o, err := j.checkList(int64(p.Version))
		if o.State == event.StateAccepted {
			return job.Undecidedf("%s", o.Reason), err
		}
		return o, err
	case *event.InstallCertificateParams:
		certificate, err := job.ParseCertificate(p.Certificate)
		if _, ok := rootKinds[p.Kind]; !ok || err != nil {
			return job.Failedf("it could not be sent: kind %q, %v", p.Kind, err), nil
		}
		return j.checkInstalled(p.Kind, certificate)
	case *event.DeleteCertificateParams:
		switch gone, err := j.checkDeleted(p.Hash); {
		case err != nil:
			return job.Undecidedf("the list of certificates cannot be read: %v", err), nil
		case !gone:
			return job.Failedf("the certificate is still installed"), nil
		}
		return site.Outcome{State: event.StateSucceeded}, nil
	case *event.GetLimitParams, *event.GetConfigurationParams, *event.ListCertificatesParams:
		return job.Failedf("no answer that could be read came: ask again"), nil
	}
	return job.Undecidedf("whether the station did it cannot be read from it"), nil
}

// lookAtLimit compares the limit of the order with what is held now.
func (j *errand) lookAtLimit(p *event.SetLimitParams) (site.Outcome, error) {
	for _, q := range j.quotas(p) {
		held, unit, err := j.held(j.Order.EVSE, q.Unit)
		if err != nil || held == nil || unit != q.Unit {
			continue
		}
		if *held <= q.Value+0.1 {
			return q.Instead(site.Outcome{State: event.StateSucceeded, Reason: q.Note}), nil
		}
		return job.Failedf("the station holds to %g %s", *held, unit), nil
	}
	return job.Undecidedf("the limit cannot be read back"), nil
}
