package wire

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// magic opens a payload that is compressed with zstd.
var magic = []byte{0x28, 0xb5, 0x2f, 0xfd}

// packFrom is the size below which compression is not worth its header.
const packFrom = 512

var encoder = sync.OnceValue(func() *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(128<<10), zstd.WithLowerEncoderMem(true))
	if err != nil {
		panic(err) // the options are constants
	}
	return e
})

var decoder = sync.OnceValue(func() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(MaxUnpacked), zstd.WithDecoderMaxWindow(MaxUnpacked))
	if err != nil {
		panic(err) // the options are constants
	}
	return d
})

// Pack compresses a message where that makes it smaller.
func Pack(plain []byte) []byte {
	if len(plain) < packFrom {
		return plain
	}
	packed := encoder().EncodeAll(plain, make([]byte, 0, len(plain)/4))
	if len(packed) >= len(plain) {
		return plain
	}
	return packed
}

// Unpack undoes Pack. It refuses a payload over MaxWire and one that unpacks to
// more than MaxUnpacked.
func Unpack(payload []byte) ([]byte, error) {
	if len(payload) > MaxWire {
		return nil, fmt.Errorf("%w: %d bytes on the wire, expected at most %d", ErrNotOurs, len(payload), MaxWire)
	}
	if !bytes.HasPrefix(payload, magic) {
		return payload, nil
	}
	plain, err := decoder().DecodeAll(payload, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: unpack: %w", ErrNotOurs, err)
	}
	return plain, nil
}
