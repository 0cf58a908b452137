package v201

import (
	"fmt"
	"sync"
	"time"

	"github.com/chargeyard/chargeyard/edge/internal/ocpp"
)

// partWait is how long the next part of a report may take: a station with a slow
// modem sends its inventory in hundreds of parts, one answer apart.
const partWait = time.Minute

// reportWait is how long a whole report may take: less than the site gives an
// order.
const reportWait = 9 * time.Minute

// collect asks for a report and hands the parts of it to take until the last one
// has come. Ask sends the request and tells whether the station agreed; where it
// did not, nothing is waited for. Take is called for one part at a time and never
// after collect has returned. Err tells that parts are missing.
func (j *errand) collect(action string, request int, ask func() (agreed bool, err error), take func(message any)) error {
	var mu sync.Mutex // guards over and what take writes
	over := false
	part := make(chan bool, 1) // whether more follow
	forget := j.await(action, request, j.Order.ID, func(message any, more bool) {
		mu.Lock()
		defer mu.Unlock()
		if over {
			return
		}
		take(message)
		over = !more
		select {
		case <-part: // the one before has not been seen yet
		default:
		}
		part <- more
	})
	defer func() {
		forget()
		mu.Lock()
		defer mu.Unlock()
		over = true
	}()
	j.invite(action)
	agreed, err := ask()
	if err != nil || !agreed {
		return err
	}
	late := time.NewTimer(reportWait)
	defer late.Stop()
	next := time.NewTimer(partWait)
	defer next.Stop()
	for {
		select {
		case more := <-part:
			if !more {
				return nil
			}
			next.Reset(partWait)
		case <-next.C:
			return fmt.Errorf("%w: the next part of %s after %v", ocpp.ErrTimeout, action, partWait)
		case <-late.C:
			return fmt.Errorf("%w: the last part of %s after %v", ocpp.ErrTimeout, action, reportWait)
		case <-j.c.Done():
			return ocpp.ErrLost
		}
	}
}
