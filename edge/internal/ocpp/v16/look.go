package v16

import (
	"github.com/chargeyard/chargeyard/edge/internal/site"
	"github.com/chargeyard/chargeyard/shared/event"
)

// look asks whether the effect of an order is there that may or may not have been
// sent before the gateway fell. Nothing is sent again; what leaves no trace that
// can be read stays undecided.
func (j *job) look() (site.Outcome, error) {
	undecided := func(why string) site.Outcome {
		return site.Outcome{State: event.StateIndeterminate, Reason: "the gateway restarted in between; " + why}
	}
	switch p := j.order.Params.(type) {
	case *event.SetLimitParams:
		return j.lookAtLimit(p)
	case *event.SetConfigurationParams:
		o, err := j.readBack(p.Variables, nil)
		if o.State == event.StateAccepted {
			return undecided(o.Reason), err
		}
		return o, err
	case *event.SendLocalListParams:
		o, err := j.checkList(int64(p.Version))
		if o.State == event.StateAccepted {
			return undecided(o.Reason), err
		}
		return o, err
	case *event.InstallCertificateParams:
		u, wrong := use(p.Kind)
		certificate, err := parseCertificate(p.Certificate)
		if wrong != "" || err != nil {
			return failed("it could not be sent: %s %v", wrong, err), nil
		}
		return j.checkInstalled(u, certificate)
	case *event.DeleteCertificateParams:
		switch gone, known := j.checkDeleted(p.Hash); {
		case !known:
			return undecided("the list of certificates cannot be read"), nil
		case !gone:
			return failed("the certificate is still installed"), nil
		}
		return site.Outcome{State: event.StateSucceeded}, nil
	case *event.GetLimitParams, *event.GetConfigurationParams, *event.ListCertificatesParams:
		return failed("the gateway restarted before the answer came: ask again"), nil
	}
	return undecided("whether the charge point did it cannot be read from it"), nil
}

// lookAtLimit compares the limit of the order with what is held now.
func (j *job) lookAtLimit(p *event.SetLimitParams) (site.Outcome, error) {
	for _, q := range j.quotas(p) {
		held, unit, err := j.held(j.at(), q.unit)
		if err != nil || held == nil || unit != q.unit {
			continue
		}
		if *held <= q.value+0.1 {
			return q.instead(site.Outcome{State: event.StateSucceeded, Reason: q.note}), nil
		}
		return failed("the charge point holds to %g %s", *held, unit), nil
	}
	return site.Outcome{State: event.StateIndeterminate, Reason: "the gateway restarted in between; the limit cannot be read back"}, nil
}
