package main

import (
	"encoding/json"
	"strings"

	"github.com/chargeyard/chargeyard/shared/event"
)

type object = map[string]any

// asyncAPI makes the AsyncAPI 3 document: channels, who sends, which schema.
func (c *contract) asyncAPI() ([]byte, error) {
	ref := func(to string) object { return object{"$ref": to} }
	channels, operations, components := object{}, object{}, object{}
	add := func(name, topic, schemaRef string, payload object, qos int, retain, up bool, doc string) {
		params := object{"gateway": object{"description": "gateway id, also its MQTT user name and client id"}}
		for _, p := range []string{"lane", "section"} {
			if strings.Contains(topic, "{"+p+"}") {
				params[p] = object{}
			}
		}
		if payload == nil {
			payload = ref(schemaRef)
		}
		components[name] = object{"name": name, "contentType": "application/json", "summary": doc, "payload": payload}
		channels[name] = object{
			"address": "cy/1/{gateway}/" + topic, "parameters": params,
			"messages": object{name: ref("#/components/messages/" + name)},
		}
		action := "send" // as the gateway sees it
		if !up {
			action = "receive"
		}
		operations[action+"_"+name] = object{
			"action": action, "channel": ref("#/channels/" + name),
			"bindings": object{"mqtt": object{"qos": qos, "retain": retain}},
		}
	}
	for _, m := range messages {
		name := strings.ToLower(m.name)
		add(name, m.topic, "./schemas/"+name+".json", nil, m.qos, m.retain, m.up, c.wire.structs[m.name].doc)
	}
	var data []any
	for _, t := range event.Types {
		data = append(data, object{
			"if":   object{"properties": object{"type": object{"const": t}}},
			"then": object{"properties": object{"data": ref("./schemas/event." + short(t) + ".json")}},
		})
	}
	add("events", "up/{lane}", "", object{
		"type": "array", "minItems": 1,
		"items": object{"allOf": append([]any{ref("./schemas/event.json")}, data...)},
	}, 1, false, true, "A batch of CloudEvents of one stream, in the order of their numbers; may be packed with zstd.")
	body, err := json.Marshal(object{
		"asyncapi": "3.0.0",
		"info": object{
			"title": "Chargeyard gateway", "version": "1",
			"description": "What a gateway says and hears over MQTT 3.1.1, seen from the gateway. A payload that begins with 28 B5 2F FD is compressed with zstd.",
		},
		"defaultContentType": "application/json",
		"channels":           channels, "operations": operations,
		"components": object{"messages": components},
	})
	if err != nil {
		return nil, err
	}
	return pretty(body)
}
