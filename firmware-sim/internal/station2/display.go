package station2

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/chargeyard/chargeyard/firmware-sim/internal/model"
	"github.com/chargeyard/chargeyard/shared/ocpp21"
)

// carryOutDisplay is carryOut for the display and customers' data.
func (s *Station) carryOutDisplay(req ocpp21.Request, payload []byte) (ocpp21.Response, func()) {
	switch req := req.(type) {
	case *ocpp21.SetDisplayMessageRequest:
		return &ocpp21.SetDisplayMessageResponse{Status: s.setMessage(req, payload)}, nil
	case *ocpp21.ClearDisplayMessageRequest:
		status := ocpp21.ClearMessageStatusUnknown
		if _, ok := s.state.Messages[req.ID]; ok {
			delete(s.state.Messages, req.ID)
			s.Dirty()
			status = ocpp21.ClearMessageStatusAccepted
		}
		return &ocpp21.ClearDisplayMessageResponse{Status: status}, nil
	case *ocpp21.GetDisplayMessagesRequest:
		return s.reportMessages(req)
	case *ocpp21.CustomerInformationRequest:
		return s.customerInformation(req)
	}
	return nil, nil
}

// maxMessages is how many messages the display holds.
const maxMessages = 20

// setMessage is O01, O02 and O06.
func (s *Station) setMessage(req *ocpp21.SetDisplayMessageRequest, payload []byte) ocpp21.DisplayMessageStatus {
	m := req.Message
	if !slices.Contains(s.model.List(model.DisplayFormats), string(m.Message.Format)) {
		return ocpp21.DisplayMessageStatusNotSupportedMessageFormat
	}
	if m.TransactionID != "" && !slices.ContainsFunc(s.evses, func(e *evse) bool {
		tx := s.running(e)
		return tx != nil && tx.ID == m.TransactionID
	}) {
		return ocpp21.DisplayMessageStatusUnknownTransaction
	}
	if m.Priority == ocpp21.MessagePriorityAlwaysFront { // O01.FR.10: there is one of them
		for id, held := range s.state.Messages {
			if held.Priority == string(m.Priority) {
				delete(s.state.Messages, id)
			}
		}
	}
	if _, held := s.state.Messages[m.ID]; !held && len(s.state.Messages) >= maxMessages {
		return ocpp21.DisplayMessageStatusRejected
	}
	s.state.Messages[m.ID] = DisplayText{
		Payload: slices.Clone(json.RawMessage(payload)), Priority: string(m.Priority), State: string(m.State), End: m.EndDateTime.Time, Transaction: m.TransactionID,
	}
	s.Dirty()
	return ocpp21.DisplayMessageStatusAccepted
}

// endMessages removes the messages of a transaction.
func (s *Station) endMessages(tx string) {
	for id, m := range s.state.Messages {
		if m.Transaction == tx {
			delete(s.state.Messages, id)
		}
	}
}

// messagesPerPart is how many messages a NotifyDisplayMessages carries.
const messagesPerPart = 4

// reportMessages is O03 and O04.
func (s *Station) reportMessages(req *ocpp21.GetDisplayMessagesRequest) (ocpp21.Response, func()) {
	var found []ocpp21.MessageInfo
	for id, held := range s.state.Messages {
		if !held.End.IsZero() && !held.End.After(s.Now()) { // O01: it is over
			delete(s.state.Messages, id)
			s.Dirty()
			continue
		}
		if len(req.ID) > 0 && !slices.Contains(req.ID, id) || req.Priority != "" && held.Priority != string(req.Priority) || req.State != "" && held.State != string(req.State) {
			continue
		}
		var message ocpp21.SetDisplayMessageRequest
		if _, err := message.Decode(held.Payload); err == nil {
			found = append(found, message.Message)
		}
	}
	if len(found) == 0 {
		return &ocpp21.GetDisplayMessagesResponse{Status: ocpp21.GetDisplayMessagesStatusUnknown}, nil
	}
	slices.SortFunc(found, func(a, b ocpp21.MessageInfo) int { return int(a.ID - b.ID) })
	return &ocpp21.GetDisplayMessagesResponse{Status: ocpp21.GetDisplayMessagesStatusAccepted}, func() {
		part := 0
		for chunk := range slices.Chunk(found, messagesPerPart) {
			part++
			s.say(&ocpp21.NotifyDisplayMessagesRequest{RequestID: req.RequestID, MessageInfo: chunk, Tbc: optional(part*messagesPerPart < len(found))}, nil).Keep = true
		}
	}
}

// customerInformation is N09 and N10.
func (s *Station) customerInformation(req *ocpp21.CustomerInformationRequest) (ocpp21.Response, func()) {
	asked := ""
	switch {
	case req.IDToken != nil:
		asked = req.IDToken.IDToken
	case req.CustomerIdentifier != "":
		asked = req.CustomerIdentifier
	}
	if asked == "" && req.CustomerCertificate == nil || !req.Report && !req.Clear {
		return &ocpp21.CustomerInformationResponse{Status: ocpp21.CustomerInformationStatusInvalid}, nil
	}
	return &ocpp21.CustomerInformationResponse{Status: ocpp21.CustomerInformationStatusAccepted}, func() {
		data := ""
		if c, ok := s.state.Customers[tokenKey(asked)]; ok {
			data = fmt.Sprintf("%s: %d sessions, last on %s", asked, c.Sessions, c.Seen.Format("2006-01-02"))
			if _, cached := s.state.Cache[tokenKey(asked)]; cached {
				data += "; in the authorization cache"
			}
		}
		if req.Clear {
			delete(s.state.Customers, tokenKey(asked))
			delete(s.state.Cache, tokenKey(asked))
			s.Dirty()
		}
		if !req.Report {
			data = ""
		}
		for n, part := range parts(data, 512) {
			s.say(&ocpp21.NotifyCustomerInformationRequest{
				Data: part, SeqNo: int64(n), GeneratedAt: at(s.Now()), RequestID: req.RequestID, Tbc: optional((n+1)*512 < len([]rune(data))),
			}, nil).Keep = true
		}
	}
}

// parts cuts a text into pieces, at least one.
func parts(text string, length int) []string {
	if strings.TrimSpace(text) == "" {
		return []string{""}
	}
	var all []string
	for chunk := range slices.Chunk([]rune(text), length) {
		all = append(all, string(chunk))
	}
	return all
}
