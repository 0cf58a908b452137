package main

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestGCPercent(t *testing.T) {
	tests := []struct {
		live uint64
		want int
	}{{0, 400}, {5 << 20, 400}, {16 << 20, 300}, {24 << 20, 200}, {48 << 20, 100}, {1 << 30, 100}}
	for _, tt := range tests {
		if got := gcPercent(tt.live); got != tt.want {
			t.Errorf("%d MiB live: got %d, want %d", tt.live>>20, got, tt.want)
		}
	}
}

func TestTuneEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		tune(ctx)
	})
}
