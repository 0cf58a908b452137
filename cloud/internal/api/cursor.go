package api

import (
	"strconv"
	"strings"
	"time"
)

// joinCursor makes the cursor of a timeline: the end of the span that was shown
// and the cursor of the events.
func joinCursor(end time.Time, events string) string {
	return strconv.FormatInt(end.UnixNano(), 36) + "~" + events
}

func splitCursor(c string) (end time.Time, events string, err error) {
	first, events, ok := strings.Cut(c, "~")
	nanos, perr := strconv.ParseInt(first, 36, 64)
	if !ok || perr != nil || events == "" {
		return time.Time{}, "", invalid("query.cursor", "expected the next of the page before", c)
	}
	return time.Unix(0, nanos).UTC(), events, nil
}
