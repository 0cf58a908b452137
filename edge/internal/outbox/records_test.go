package outbox

import (
	"context"
	"testing"

	"github.com/chargeyard/chargeyard/edge/internal/site"
)

// A record that is deleted and put again in one commit keeps its place, so that
// deleting it later deletes all of it.
func TestDeleteAndPutInOneCommit(t *testing.T) {
	cfg := testConfig(t.TempDir())
	o := openTest(t, cfg)
	k := site.Key{Kind: "token", ID: "04A1B2C3"}
	ctx := context.Background()
	put := func(v string) *request {
		r := newRequest()
		r.put = []site.Record{{Key: k, Value: []byte(v)}}
		return r
	}
	gone := newRequest()
	gone.delete = []site.Key{k}
	for _, group := range [][]*request{{put("one")}, {gone, put("two")}, {put("three")}} {
		if err := o.events.do(ctx, func() error { return o.events.commitGroup(group) }); err != nil {
			t.Fatal(err)
		}
	}
	if got := o.Restored(); len(got) != 1 || string(got[0].Value) != "three" {
		t.Errorf("records %+v, want three", got)
	}
	if err := o.Commit(ctx, site.Change{Delete: []site.Key{k}}); err != nil {
		t.Fatal(err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if got := openTest(t, cfg).Restored(); len(got) != 0 {
		t.Errorf("deleted record is back: %+v", got)
	}
}
