package uplink

import "time"

// SetWriteWait shortens the wait for a broker that does not read.
func (t *MQTT) SetWriteWait(d time.Duration) { t.wait = d }
