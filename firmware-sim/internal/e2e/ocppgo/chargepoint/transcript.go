package main

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/lorenzodonini/ocpp-go/ocpp"
)

// line is one exchange as it is printed. Times are UTC.
type line struct {
	Time    time.Time     `json:"time"`
	From    string        `json:"from"` // "station" or "gateway": who sent the CALL
	Action  string        `json:"action"`
	Request ocpp.Request  `json:"request"`
	Answer  ocpp.Response `json:"answer,omitempty"`
	Error   string        `json:"error,omitempty"`
}

// transcript prints exchanges and remembers the first fault.
type transcript struct {
	mu     sync.Mutex
	out    io.Writer // under mu
	failed error     // under mu
}

func (t *transcript) sent(request ocpp.Request, answer ocpp.Response, err error) {
	l := line{From: "station", Action: request.GetFeatureName(), Request: request, Answer: answer}
	if err != nil {
		l.Answer, l.Error = nil, err.Error()
	}
	t.print(l)
	if err != nil {
		t.fail(fmt.Errorf("%s: %w", l.Action, err))
	}
}

func (t *transcript) received(request ocpp.Request, answer ocpp.Response) {
	t.print(line{From: "gateway", Action: request.GetFeatureName(), Request: request, Answer: answer})
}

func (t *transcript) print(l line) {
	l.Time = time.Now().UTC()
	text, err := json.Marshal(l)
	if err != nil {
		t.fail(fmt.Errorf("print %s: %w", l.Action, err))
		return
	}
	t.mu.Lock()
	_, err = t.out.Write(append(text, '\n'))
	t.mu.Unlock()
	if err != nil {
		t.fail(fmt.Errorf("print %s: %w", l.Action, err))
	}
}

func (t *transcript) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failed == nil {
		t.failed = err
	}
}

func (t *transcript) fault() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failed
}
