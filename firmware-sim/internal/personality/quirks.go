package personality

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chargeyard/chargeyard/shared/ocppj"
)

// All returns the personalities. What each does is described in
// firmware-sim/README.md.
func All() []Personality {
	return []Personality{
		{Name: "unnamed", Does: "asks for no sub-protocol in the handshake", Versions: every, unnamed: true},
		{Name: "hopper", Does: "comes with OCPP 1.6 one time and 2.0.1 the next", Versions: second[:1], Hops: true},
		{Name: "empty-value", Does: `leaves a value out of its JSON: "transactionId":,`, Versions: every, quirk: emptyValue},
		{Name: "stray-comma", Does: "begins lists of readings with a comma", Versions: every, quirk: strayComma},
		{Name: "no-boot", Does: "says BootNotification and StatusNotification once in its life only", Versions: every, quirk: noBoot},
		{Name: "boot-again", Does: "repeats its BootNotification every 10 s with the same message id", Versions: every, quirk: bootAgain, Pause: 10 * time.Second},
		{Name: "blank-boot", Does: "boots with blank texts, texts that are too long, fields that nobody knows and a signal strength as ICCID", Versions: every, quirk: blankBoot},
		{Name: "local-time", Does: "writes local times without a zone", Versions: every, quirk: localTime},
		{Name: "false-zulu", Does: "writes local times with a Z behind", Versions: every, quirk: falseZulu},
		{Name: "year-1970", Does: "counts time from 1970, since its start", Versions: every, quirk: year1970},
		{Name: "old-status", Does: "dates statuses three days back", Versions: every, quirk: oldStatus},
		{Name: "minus-one", Does: "writes transactionId -1 whatever it was given", Versions: first, quirk: transactionID(-1, false)},
		{Name: "zero-stop", Does: "writes transactionId 0 in every StopTransaction", Versions: first, quirk: transactionID(0, true)},
		{Name: "twice", Does: "says starts and stops twice, each time with a message id of its own", Versions: every, quirk: twice},
		{Name: "wrong-stop", Does: "stops a transaction that is not there before each of its own", Versions: first, quirk: wrongStop},
		{Name: "numbers", Does: "writes readings as numbers where texts belong, and as texts where numbers belong", Versions: every, quirk: numbers},
		{Name: "decimal-comma", Does: "writes readings with a decimal comma and blanks around", Versions: every, quirk: decimalComma},
		{Name: "session-register", Does: "lets its register begin at 0 with every transaction", Versions: every, quirk: sessionRegister},
		{Name: "kwh-as-wh", Does: "writes energy in kWh and calls it Wh", Versions: first, quirk: kwhAsWh},
		{Name: "odd-words", Does: "spells measurands and units in its own way", Versions: first, quirk: oddWords},
		{Name: "slow-answers", Does: "takes 60 s for every answer", Versions: every, quirk: slowAnswers, Pause: time.Minute},
		{Name: "out-of-order", Does: "answers two orders in the wrong order", Versions: every, quirk: outOfOrder, Pause: 3 * time.Second},
		{Name: "no-evse", Does: "never says at which EVSE a transaction runs", Versions: second, quirk: noEVSE},
		{Name: "evse-always", Does: "says the EVSE in every event, but never the connector", Versions: second, quirk: evseAlways},
		{Name: "sequence-restarts", Does: "counts seqNo from 0 after every connection, and never says that it was offline", Versions: second, quirk: sequenceRestarts},
		{Name: "connector-zero", Does: "calls its connector 0", Versions: every, quirk: connectorZero},
		{Name: "hasty-reset", Does: "says its stops at a reset and goes without waiting for an answer", Versions: every, quirk: hastyReset},
		{Name: "same-ids", Does: "numbers its messages from 1 at every connection", Versions: every, quirk: sameIDs},
		{Name: "foreign-words", Does: "answers with words of other messages: Accepted for UnlockConnector", Versions: every, quirk: foreignWords},
		{Name: "long-tags", Does: "adds two characters to tokens that came by remote start", Versions: every, quirk: longTags},
	}
}

// one is what a hook returns that lets a frame pass.
func one(f *frame) []*frame { return []*frame{f} }

// calls lets a hook change every CALL.
func calls(change func(f *frame)) func(*wire) {
	return func(w *wire) {
		w.call = func(_ *conn, f *frame) []*frame {
			change(f)
			return one(f)
		}
	}
}

// periodic tells whether a call carries readings in between.
func periodic(f *frame) bool {
	return f.Action == "MeterValues" || f.Action == "TransactionEvent" && text(f.Payload, "eventType") == "Updated"
}

var transactionNumber = regexp.MustCompile(`"transactionId":-?\d+`)

func emptyValue(w *wire) {
	w.raw = func(f *frame, data []byte) []byte {
		if f.Type != ocppj.Call || !periodic(f) {
			return data
		}
		if transactionNumber.Match(data) {
			return transactionNumber.ReplaceAll(data, []byte(`"transactionId":`))
		}
		return []byte(strings.Replace(string(data), `"seqNo":`, `"numberOfPhasesUsed":,"seqNo":`, 1))
	}
}

func strayComma(w *wire) {
	w.raw = func(f *frame, data []byte) []byte {
		if f.Type != ocppj.Call || !periodic(f) {
			return data
		}
		return []byte(strings.Replace(string(data), `"meterValue":[{`, `"meterValue":[,{`, 1))
	}
}

// booted is the answer of a far end that is content.
func booted(f *frame) []byte {
	payload := `{}`
	if f.Action == "BootNotification" {
		payload = `{"status":"Accepted","currentTime":"` + time.Now().UTC().Format(time.RFC3339) + `","interval":300}`
	}
	return ocppj.AppendResult(nil, f.ID, []byte(payload))
}

// mute is how long a charger that does not boot says no status after it has
// connected.
const mute = 2 * time.Second

func noBoot(w *wire) {
	known := false
	var since time.Time
	w.connected = func(*conn) { since = time.Now() }
	w.call = func(c *conn, f *frame) []*frame {
		if known && (f.Action == "BootNotification" || f.Action == "StatusNotification" && time.Since(since) < mute) {
			delete(w.asked, f.ID)
			c.pretend(booted(f))
			return nil
		}
		return one(f)
	}
	w.result = func(_ *conn, f *frame) []*frame {
		if f.Action == "BootNotification" && text(f.Payload, "status") == "Accepted" {
			since, known = time.Time{}, true // the statuses after it go out
		}
		return one(f)
	}
}

func bootAgain(w *wire) {
	w.result = func(c *conn, f *frame) []*frame {
		if f.Action != "BootNotification" || text(f.Payload, "status") != "Accepted" {
			return one(f)
		}
		if boot := w.asked[f.ID]; boot != nil {
			var repeat func()
			repeat = func() {
				w.mu.Lock()
				twin := w.again(boot, boot.ID)
				w.mu.Unlock()
				if c.put(twin, twin.bytes()) == nil {
					c.after(w.pause, repeat)
				}
			}
			c.after(w.pause, repeat)
		}
		return one(f)
	}
}

func blankBoot(w *wire) {
	calls(func(f *frame) {
		if f.Action != "BootNotification" {
			return
		}
		at := f.Payload
		if inner := within(f.Payload, "chargingStation"); inner != nil {
			at = inner
			at["modem"] = object{"iccid": "-67", "imsi": ""}
		} else {
			at["iccid"], at["imsi"] = "-67", ""
		}
		at["firmwareVersion"] = strings.Repeat("v1.2.3-built-by-nobody ", 5)
		at["upTime"] = json.Number("12345")
		f.changed = true
	})(w)
}

// ---- time

var instant = regexp.MustCompile(`"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"`)

// times changes all times of CALLs.
func times(change func(f *frame, t time.Time) string) func(*wire) {
	return func(w *wire) {
		w.raw = func(f *frame, data []byte) []byte {
			if f.Type != ocppj.Call {
				return data
			}
			return instant.ReplaceAllFunc(data, func(found []byte) []byte {
				t, err := time.Parse(time.RFC3339, strings.Trim(string(found), `"`))
				if err != nil {
					return found
				}
				return []byte(strconv.Quote(change(f, t)))
			})
		}
	}
}

// zone is where the chargers with local time stand.
const zone = 2 * time.Hour

func localTime(w *wire) {
	times(func(_ *frame, t time.Time) string { return t.Add(zone).Format("2006-01-02T15:04:05.000") })(w)
}

func falseZulu(w *wire) {
	times(func(_ *frame, t time.Time) string { return t.Add(zone).Format("2006-01-02T15:04:05.000Z") })(w)
}

func year1970(w *wire) {
	times(func(_ *frame, t time.Time) string {
		return time.Unix(0, 0).UTC().Add(max(0, t.Sub(w.began))).Format("2006-01-02T15:04:05.000Z")
	})(w)
}

func oldStatus(w *wire) {
	times(func(f *frame, t time.Time) string {
		if f.Action == "StatusNotification" {
			t = t.Add(-3 * 24 * time.Hour)
		}
		return t.Format("2006-01-02T15:04:05.000Z")
	})(w)
}

// ---- transactions

func transactionID(id int, stopsOnly bool) func(*wire) {
	return calls(func(f *frame) {
		if f.Action == "StopTransaction" || f.Action == "MeterValues" && !stopsOnly && f.Payload["transactionId"] != nil {
			f.set("transactionId", id)
		}
	})
}

// edge tells whether a call begins or ends a transaction.
func edge(f *frame) bool {
	return f.Action == "StartTransaction" || f.Action == "StopTransaction" || f.Action == "TransactionEvent" && text(f.Payload, "eventType") != "Updated"
}

func twice(w *wire) {
	w.call = func(_ *conn, f *frame) []*frame {
		if !edge(f) {
			return one(f)
		}
		return []*frame{f, w.again(f, newID())}
	}
}

func wrongStop(w *wire) {
	w.call = func(_ *conn, f *frame) []*frame {
		if f.Action != "StopTransaction" {
			return one(f)
		}
		id, err := strconv.ParseInt(text(f.Payload, "transactionId"), 10, 64)
		if err != nil {
			return one(f)
		}
		stray := w.again(f, newID())
		stray.Payload["transactionId"] = id + 100_000
		delete(stray.Payload, "idTag")
		return []*frame{stray, f}
	}
}

func noEVSE(w *wire) {
	calls(func(f *frame) {
		if f.Action == "TransactionEvent" && f.Payload["evse"] != nil {
			delete(f.Payload, "evse")
			f.changed = true
		}
	})(w)
}

func evseAlways(w *wire) {
	known := map[string]any{} // EVSE by transaction
	calls(func(f *frame) {
		if f.Action != "TransactionEvent" {
			return
		}
		tx := text(within(f.Payload, "transactionInfo"), "transactionId")
		if e := within(f.Payload, "evse"); e != nil {
			known[tx] = object{"id": e["id"]}
		}
		if known[tx] != nil {
			f.set("evse", known[tx])
		}
	})(w)
}

func sequenceRestarts(w *wire) {
	next := map[string]int{} // by transaction
	sent := map[string]int{} // by message id: a repetition says the same
	w.connected = func(*conn) { clear(next) }
	w.call = func(_ *conn, f *frame) []*frame {
		if f.Action != "TransactionEvent" {
			return one(f)
		}
		tx := text(within(f.Payload, "transactionInfo"), "transactionId")
		n, repeated := sent[f.ID]
		if !repeated {
			n = next[tx]
			next[tx]++
			sent[f.ID] = n
		}
		delete(f.Payload, "offline")
		f.set("seqNo", n)
		return one(f)
	}
}

// ---- readings

// samples goes through all sampled values of a call.
func samples(f *frame, change func(o object)) {
	for _, key := range []string{"meterValue", "transactionData"} {
		for _, reading := range items(f.Payload, key) {
			for _, v := range items(reading, "sampledValue") {
				change(v)
				f.changed = true
			}
		}
	}
}

func numbers(w *wire) {
	calls(func(f *frame) {
		samples(f, func(o object) {
			switch v := o["value"].(type) {
			case string:
				o["value"] = json.Number(v)
			case json.Number:
				o["value"] = v.String()
			}
		})
	})(w)
}

func decimalComma(w *wire) {
	calls(func(f *frame) {
		samples(f, func(o object) { o["value"] = " " + strings.Replace(text(o, "value"), ".", ",", 1) + " " })
	})(w)
}

// isEnergy tells whether a sampled value is of the energy register.
func isEnergy(o object) bool {
	m, said := o["measurand"]
	return !said || m == "Energy.Active.Import.Register"
}

// shift adds to a value, in the type that it has.
func shift(o object, key string, by float64) {
	v, err := strconv.ParseFloat(text(o, key), 64)
	if err != nil {
		return
	}
	if _, quoted := o[key].(string); quoted {
		o[key] = string(number(v + by))
		return
	}
	o[key] = number(v + by)
}

func sessionRegister(w *wire) {
	base := map[string]float64{} // by transaction, or by connector before there is one
	first := func(f *frame) float64 {
		at := 0.0
		samples(f, func(o object) {
			if v, err := strconv.ParseFloat(text(o, "value"), 64); err == nil && isEnergy(o) && at == 0 {
				at = v
			}
		})
		return at
	}
	w.call = func(_ *conn, f *frame) []*frame {
		key := text(f.Payload, "transactionId")
		switch f.Action {
		case "StartTransaction":
			v, err := strconv.ParseFloat(text(f.Payload, "meterStart"), 64)
			if err != nil {
				return one(f)
			}
			base["connector "+text(f.Payload, "connectorId")], base["last"] = v, v
			f.set("meterStart", 0)
			return one(f)
		case "TransactionEvent":
			key = text(within(f.Payload, "transactionInfo"), "transactionId")
			if text(f.Payload, "eventType") == "Started" {
				base[key] = first(f)
			}
		case "MeterValues":
			if _, ok := base[key]; !ok {
				key = "connector " + text(f.Payload, "connectorId")
			}
		}
		from, ok := base[key]
		if !ok {
			from = base["last"]
		}
		samples(f, func(o object) {
			if isEnergy(o) {
				shift(o, "value", -from)
			}
		})
		if f.Payload["meterStop"] != nil {
			shift(f.Payload, "meterStop", -from)
			f.changed = true
		}
		return one(f)
	}
	w.result = func(_ *conn, f *frame) []*frame {
		if start := w.asked[f.ID]; start != nil && f.Action == "StartTransaction" && f.Payload != nil {
			base[text(f.Payload, "transactionId")] = base["connector "+text(start.Payload, "connectorId")]
		}
		return one(f)
	}
}

func kwhAsWh(w *wire) {
	calls(func(f *frame) {
		samples(f, func(o object) {
			if v, err := strconv.ParseFloat(text(o, "value"), 64); err == nil && isEnergy(o) {
				o["value"] = strconv.FormatFloat(v/1000, 'f', 3, 64)
			}
		})
	})(w)
}

func oddWords(w *wire) {
	words := map[string]string{"Current.Import": "Current.import", "Power.Active.Import": "power.active.import", "W": "w", "V": "Volt", "Celsius": "Celcius", "Wh": "WH"}
	calls(func(f *frame) {
		samples(f, func(o object) {
			for _, key := range []string{"measurand", "unit"} {
				if odd, ok := words[text(o, key)]; ok {
					o[key] = odd
				}
			}
		})
	})(w)
}

// ---- answers

func slowAnswers(w *wire) {
	w.answer = func(c *conn, f *frame) []*frame {
		c.later(w.pause, f)
		return nil
	}
}

func outOfOrder(w *wire) {
	var held *frame
	w.connected = func(*conn) { held = nil }
	w.answer = func(c *conn, f *frame) []*frame {
		if held != nil {
			earlier := held
			held = nil
			return []*frame{f, earlier}
		}
		held = f
		c.after(w.pause, func() {
			w.mu.Lock()
			alone := held == f
			if alone {
				held = nil
			}
			w.mu.Unlock()
			if alone {
				_ = c.put(f, f.bytes()) // the charger learns of a broken connection by itself
			}
		})
		return nil
	}
}

func foreignWords(w *wire) {
	words := map[string]string{"UnlockConnector": "Accepted", "ClearCache": "Ok", "ChangeAvailability": "Success", "SetChargingProfile": "OK"}
	w.answer = func(_ *conn, f *frame) []*frame {
		word, ok := words[f.Action]
		status := text(f.Payload, "status")
		if ok && slices.Contains([]string{"Accepted", "Unlocked", "Scheduled"}, status) {
			f.set("status", word)
		}
		return one(f)
	}
}

// ---- the rest

func connectorZero(w *wire) {
	calls(func(f *frame) {
		switch {
		case f.Action == "StatusNotification" && f.Payload["evseId"] != nil:
			f.set("connectorId", 0)
		case f.Action == "MeterValues" && f.Payload["connectorId"] != nil:
			f.set("connectorId", 0)
		}
	})(w)
}

func hastyReset(w *wire) {
	resetting := false
	w.connected = func(*conn) { resetting = false }
	w.order = func(_ *conn, f *frame) []*frame {
		resetting = resetting || f.Action == "Reset"
		return one(f)
	}
	w.sent = func(c *conn, f *frame) {
		w.mu.Lock()
		leave := resetting && (f.Action == "StopTransaction" || f.Action == "TransactionEvent" && text(f.Payload, "eventType") == "Ended")
		w.mu.Unlock()
		if leave {
			_ = c.inner.Cut() // what the charger reads next is the end
		}
	}
}

func sameIDs(w *wire) {
	next := 0
	real := map[string]string{} // the charger's own id by the one on the wire
	w.connected = func(*conn) {
		next = 0
		clear(real)
	}
	w.call = func(_ *conn, f *frame) []*frame {
		next++
		id := strconv.Itoa(next)
		real[id] = f.ID
		delete(w.asked, f.ID)
		f.ID, f.changed = id, true
		return one(f)
	}
	w.result = func(_ *conn, f *frame) []*frame {
		id, ok := real[f.ID]
		if !ok {
			return one(f)
		}
		delete(real, f.ID)
		f.raw = renamed(f.raw, f.ID, id)
		return one(f)
	}
}

// renamed gives a frame another id: the second element of its array.
func renamed(data []byte, from, to string) []byte {
	return []byte(strings.Replace(string(data), strconv.Quote(from), strconv.Quote(to), 1))
}

func longTags(w *wire) {
	remote := map[string]bool{}
	w.order = func(_ *conn, f *frame) []*frame {
		switch f.Action {
		case "RemoteStartTransaction":
			remote[text(f.Payload, "idTag")] = true
		case "RequestStartTransaction":
			remote[text(within(f.Payload, "idToken"), "idToken")] = true
		}
		return one(f)
	}
	lengthen := func(o object, key string) bool {
		tag := text(o, key)
		if tag == "" || !remote[tag] {
			return false
		}
		o[key] = tag + "00"
		return true
	}
	w.call = func(_ *conn, f *frame) []*frame {
		if lengthen(f.Payload, "idTag") {
			f.changed = true
		}
		if o := within(f.Payload, "idToken"); o != nil && lengthen(o, "idToken") {
			f.changed = true
		}
		return one(f)
	}
}
