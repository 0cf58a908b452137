package ocppj

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"unicode/utf8"

	"github.com/chargeyard/chargeyard/shared/lenient"
)

// Parse reads one frame. The error is a *ParseError; a frame of type 3, 4 or 5
// that could not be used has an id there as well, so that the call it was meant
// to answer can be ended.
//
// Parse knows no version: types 5 and 6 exist in 2.1 only, and codes come in
// every spelling.
func Parse(data []byte) (Frame, error) {
	p := parser{data: data}
	err := p.frame()
	if err == nil {
		return p.Frame, nil
	}
	if err.Code == FormatViolation && utf8.Valid(data) {
		if mended, ok := mend(data); ok {
			again := parser{data: mended}
			if again.frame() == nil {
				again.Repaired = true
				return again.Frame, nil
			}
		}
	}
	if err.ID == "" {
		err.Type, err.ID = salvage(data, err.Type)
	}
	return Frame{}, err
}

// parser reads data into the Frame.
type parser struct {
	Frame
	data []byte
	pos  int
}

// frame reads the whole of data.
func (p *parser) frame() *ParseError {
	if !utf8.Valid(p.data) {
		return p.fail(FormatViolation, "expected UTF-8")
	}
	if bytes.HasPrefix(p.data, []byte("\uFEFF")) {
		p.pos, p.Repaired = len("\uFEFF"), true
	}
	p.pos = lenient.Space(p.data, p.pos)
	if p.peek() != '[' {
		return p.expected("an array")
	}
	p.pos = lenient.Space(p.data, p.pos+1)
	if err := p.messageType(); err != nil {
		return err
	}
	if err := p.messageID(); err != nil {
		return err
	}
	if p.Type < Call || p.Type > Send {
		return p.fail(MessageTypeNotSupported, "expected message type 2 to 6")
	}
	if err := p.body(); err != nil {
		return err
	}
	for p.peek() == ',' { // more than there should be
		if _, err := p.element("an element"); err != nil {
			return err
		}
		p.Repaired = true
	}
	if p.peek() != ']' {
		return p.expected("a comma or the end of the array")
	}
	if p.pos = lenient.Space(p.data, p.pos+1); p.pos < len(p.data) {
		return p.expected("the end of the frame")
	}
	return nil
}

// body reads what follows the id.
func (p *parser) body() *ParseError {
	if p.Type == Call || p.Type == Send {
		action, err := p.element("an action")
		if err != nil {
			return err
		}
		if action[0] != '"' || len(action) == 2 {
			return p.fail(ProtocolError, "expected an action, got "+quote(action))
		}
		p.Action = lenient.Unquote(action)
	}
	if p.Type != CallError && p.Type != CallResultError {
		payload, err := p.element("a payload")
		p.Payload = object(payload)
		return err
	}

	code, err := p.element("an error code")
	if err != nil {
		return err
	}
	if code[0] != '"' {
		return p.fail(ProtocolError, "expected an error code, got "+quote(code))
	}
	p.Code = ErrorCode(lenient.Unquote(code))
	p.Details = object(nil)
	if p.peek() != ',' {
		p.Repaired = true
		return nil
	}
	description, err := p.element("a description")
	if err != nil {
		return err
	}
	if description[0] == '"' {
		p.Description = lenient.Unquote(description)
	} else {
		p.Repaired = true
		if string(description) != "null" {
			p.Description = string(description)
		}
	}
	if p.peek() != ',' {
		p.Repaired = true
		return nil
	}
	details, err := p.element("details")
	p.Details = object(details)
	return err
}

// messageType reads the first element.
func (p *parser) messageType() *ParseError {
	first, err := p.value("a message type")
	if err != nil {
		return err
	}
	text := first
	if first[0] == '"' {
		text, p.Repaired = first[1:len(first)-1], true
	}
	n, bad := strconv.Atoi(string(text))
	if bad != nil || n < 0 || n > 99 {
		return p.fail(ProtocolError, "expected a message type, got "+quote(first))
	}
	p.Type = MessageType(n)
	return nil
}

// messageID reads the second element.
func (p *parser) messageID() *ParseError {
	second, err := p.element("a message id")
	if err != nil {
		return err
	}
	switch c := second[0]; {
	case c == '"':
		if len(second)-2 > MaxIDBytes*6 { // so many escapes
			return p.fail(RPCFrameworkError, "expected a message id of at most 255 bytes")
		}
		id := lenient.Unquote(second)
		if len(id) > MaxIDBytes {
			return p.fail(RPCFrameworkError, "expected a message id of at most 255 bytes")
		}
		p.ID = id
	case (c == '-' || c >= '0' && c <= '9') && len(second) <= MaxIDBytes:
		p.ID, p.Repaired = string(second), true
	default:
		return p.fail(RPCFrameworkError, "expected a message id, got "+quote(second))
	}
	return nil
}

// element reads a comma and the value after it.
func (p *parser) element(what string) ([]byte, *ParseError) {
	switch p.peek() {
	case ',':
	case ']':
		return nil, p.fail(ProtocolError, "expected "+what+", got the end of the array")
	default:
		return nil, p.expected("a comma")
	}
	p.pos = lenient.Space(p.data, p.pos+1)
	return p.value(what)
}

// value reads one value and moves to what follows it.
func (p *parser) value(what string) ([]byte, *ParseError) {
	end, err := lenient.Scan(p.data, p.pos, MaxDepth)
	if err != nil {
		p.pos = end
		if syntax, ok := errors.AsType[*lenient.SyntaxError](err); ok && syntax.Want != "a value" {
			what = syntax.Want
		}
		return nil, p.expected(what)
	}
	value := p.data[p.pos:end:end]
	p.pos = lenient.Space(p.data, end)
	return value, nil
}

func (p *parser) peek() byte {
	if p.pos < len(p.data) {
		return p.data[p.pos]
	}
	return 0
}

// expected is the error for something else under the cursor.
func (p *parser) expected(what string) *ParseError {
	return p.fail(FormatViolation, "expected "+what+" at byte "+strconv.Itoa(p.pos)+", got "+quote(p.data[min(p.pos, len(p.data)):]))
}

// fail is the error with what has been read of the head.
func (p *parser) fail(code ErrorCode, reason string) *ParseError {
	return &ParseError{ID: p.ID, Type: p.Type, Code: code, Reason: reason}
}

// object returns raw, and {} for null.
func object(raw []byte) json.RawMessage {
	if len(raw) == 0 || string(raw) == "null" {
		return json.RawMessage("{}")
	}
	return raw
}

// quote returns the beginning of raw for an error text.
func quote(raw []byte) string {
	if len(raw) == 0 {
		return "the end"
	}
	return strconv.Quote(string(raw[:min(len(raw), 40)]))
}
