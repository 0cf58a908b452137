#!/usr/bin/env python3
"""The smallest backend: prints every event of every gateway once, in order.
Needs python3-paho-mqtt and python3-zstandard; a real one commits where this one prints."""
import json, os, sys, time, uuid
import paho.mqtt.client as mqtt, zstandard

positions, born = {}, str(uuid.uuid4())  # (gateway, lane, stream): last number taken

def on_message(client, _, m):
    gateway, kind, *lane = m.topic.split("/")[2:]
    plain = zstandard.decompress(m.payload, 4 << 20) if m.payload[:4] == b"\x28\xb5\x2f\xfd" else m.payload
    message = json.loads(plain)
    if kind == "hello":
        at = {l: {s["stream"]: "%016x" % positions.get((gateway, l, s["stream"]), 0) for s in streams} for l, streams in message["lanes"].items()}
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return client.publish(f"cy/1/{gateway}/welcome", json.dumps({"hello": message["hello"], "time": now, "incarnation": born, "positions": at, "desired": {}}), 1)
    for e in message:
        key, number = (gateway, lane[0], e["id"].split("/")[0]), int(e["sequence"], 16)
        if number > positions.get(key, 0):
            print(json.dumps({"gateway": gateway, **e}), flush=True)  # commit here, before the ack
            positions[key] = number
    client.publish(f"cy/1/{gateway}/ack/{lane[0]}", json.dumps({"stream": key[2], "first": message[0]["sequence"], "sequence": "%016x" % positions[key]}), 1)

client = mqtt.Client(*([mqtt.CallbackAPIVersion.VERSION1] if hasattr(mqtt, "CallbackAPIVersion") else []), client_id="manager")
client.username_pw_set("manager", os.environ.get("MQTT_PASSWORD"))
client.on_message, client.on_connect = on_message, lambda c, *_: c.subscribe([("cy/1/+/hello", 1), ("cy/1/+/up/+", 1)])
client.connect(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1", int(sys.argv[2]) if len(sys.argv) > 2 else 1883)
client.loop_forever()
