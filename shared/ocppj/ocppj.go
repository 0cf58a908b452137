// Package ocppj reads and writes the frames of OCPP-J, the JSON arrays that
// charge points and central systems exchange over a WebSocket, for all versions
// from 1.6 to 2.1.
//
// It is pure: one WebSocket message in, one Frame or one *ParseError out. A
// frame that parses is well-formed JSON in valid UTF-8 down to the last byte of
// its payload, nested at most MaxDepth deep. Where a frame is damaged, the
// error carries the message id if that could be read, so that the peer gets an
// answer.
package ocppj

import (
	"encoding/json"
	"strconv"
	"unicode/utf8"

	"github.com/chargeyard/chargeyard/shared/lenient"
)

// The subprotocols of the WebSocket handshake that name a version.
const (
	V16  = "ocpp1.6"
	V201 = "ocpp2.0.1"
	V21  = "ocpp2.1"
)

// Limits of a frame. Its size is limited by whoever reads the socket.
const (
	// MaxDepth is how deep arrays and objects may nest in a payload.
	MaxDepth = lenient.MaxDepth
	// MaxIDBytes is how long a message id may be. The standard allows 36
	// characters; a few chargers write more and get their own id back.
	MaxIDBytes = 255
	// MaxDescription is how many characters of an error description are sent.
	MaxDescription = 255
)

// MessageType is the first element of a frame.
type MessageType int

// The message types.
const (
	Call            MessageType = 2 // [2, id, action, payload], answered by 3 or 4
	CallResult      MessageType = 3 // [3, id, payload]
	CallError       MessageType = 4 // [4, id, code, description, details]
	CallResultError MessageType = 5 // [5, id, code, description, details], 2.1: the answer to a 3 that could not be used
	Send            MessageType = 6 // [6, id, action, payload], 2.1: never answered
)

// String returns the name that the standard gives the type.
func (t MessageType) String() string {
	switch t {
	case Call:
		return "CALL"
	case CallResult:
		return "CALLRESULT"
	case CallError:
		return "CALLERROR"
	case CallResultError:
		return "CALLRESULTERROR"
	case Send:
		return "SEND"
	default:
		return "message type " + strconv.Itoa(int(t))
	}
}

// Frame is one OCPP-J message. Which fields are set follows from Type.
type Frame struct {
	Type        MessageType
	ID          string          // of the call; an answer carries that of its call
	Action      string          // of Call and Send
	Payload     json.RawMessage // of Call, CallResult and Send: a part of the data given to Parse; {} for null
	Code        ErrorCode       // of CallError and CallResultError, as it was spelled
	Description string          // of CallError and CallResultError
	Details     json.RawMessage // of CallError and CallResultError: a part of the data given to Parse; {} for null
	// Repaired tells that the frame broke the rules in a way that left no
	// doubt about its meaning: an empty member value or a stray comma, a type
	// in quotes, an id without them, an error without description or details,
	// more elements than there should be, a byte order mark. Payload and
	// Details of a frame whose JSON was mended belong to a copy.
	Repaired bool
}

// ParseError says why a frame could not be used.
type ParseError struct {
	ID     string      // of the damaged message; empty when it could not be read
	Type   MessageType // of the damaged message; 0 when it could not be read
	Code   ErrorCode   // to answer a damaged Call with, see ErrorCode.For
	Reason string      // what was expected, and where
}

// Error tells the type, the id and the reason.
func (e *ParseError) Error() string {
	text := "frame"
	if e.Type != 0 {
		text = e.Type.String()
	}
	if e.ID != "" {
		text += " " + strconv.Quote(e.ID)
	}
	return text + ": " + e.Reason
}

// Append appends the frame to b as Parse would read it.
func (f Frame) Append(b []byte) []byte {
	switch f.Type {
	case Call:
		return AppendCall(b, f.ID, f.Action, f.Payload)
	case CallResult:
		return AppendResult(b, f.ID, f.Payload)
	case CallError:
		return AppendError(b, f.ID, f.Code, f.Description, f.Details)
	case CallResultError:
		return AppendResultError(b, f.ID, f.Code, f.Description, f.Details)
	case Send:
		return AppendSend(b, f.ID, f.Action, f.Payload)
	default:
		return b
	}
}

// AppendCall appends a CALL. The payload must be a JSON object; an empty one
// may be nil.
func AppendCall(b []byte, id, action string, payload []byte) []byte {
	return appendRequest(b, Call, id, action, payload)
}

// AppendSend appends a SEND, as AppendCall does a CALL.
func AppendSend(b []byte, id, action string, payload []byte) []byte {
	return appendRequest(b, Send, id, action, payload)
}

// AppendResult appends the CALLRESULT to the CALL with that id. The payload
// must be a JSON object; an empty one may be nil.
func AppendResult(b []byte, id string, payload []byte) []byte {
	b = appendHead(b, CallResult, id)
	b = append(b, ',')
	b = appendObject(b, payload)
	return append(b, ']')
}

// AppendError appends the CALLERROR to the CALL with that id. The code is
// written as it is: use ErrorCode.For. The description is cut after
// MaxDescription characters; details must be a JSON object or nil.
func AppendError(b []byte, id string, code ErrorCode, description string, details []byte) []byte {
	return appendError(b, CallError, id, code, description, details)
}

// AppendResultError appends the CALLRESULTERROR to the CALLRESULT with that
// id, as AppendError does a CALLERROR.
func AppendResultError(b []byte, id string, code ErrorCode, description string, details []byte) []byte {
	return appendError(b, CallResultError, id, code, description, details)
}

func appendHead(b []byte, t MessageType, id string) []byte {
	b = append(b, '[', '0'+byte(t), ',')
	return lenient.AppendString(b, id)
}

func appendRequest(b []byte, t MessageType, id, action string, payload []byte) []byte {
	b = appendHead(b, t, id)
	b = append(b, ',')
	b = lenient.AppendString(b, action)
	b = append(b, ',')
	b = appendObject(b, payload)
	return append(b, ']')
}

func appendError(b []byte, t MessageType, id string, code ErrorCode, description string, details []byte) []byte {
	b = appendHead(b, t, id)
	b = append(b, ',')
	b = lenient.AppendString(b, string(code))
	b = append(b, ',')
	b = lenient.AppendString(b, cut(description, MaxDescription))
	b = append(b, ',')
	b = appendObject(b, details)
	return append(b, ']')
}

func appendObject(b, object []byte) []byte {
	if len(object) == 0 {
		return append(b, '{', '}')
	}
	return append(b, object...)
}

// cut returns the first limit characters of text.
func cut(text string, limit int) string {
	if len(text) <= limit || utf8.RuneCountInString(text) <= limit {
		return text
	}
	n := 0
	for i := range text {
		if n == limit {
			return text[:i]
		}
		n++
	}
	return text
}
