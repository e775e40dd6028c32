package watchdog

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
)

// pack appends numbers that lie near each other to b, as Rice codes of their
// distances from the median: a byte count, the median, the parameter k, and
// then for each number its distance >> k in ones, a zero, and its lower k
// bits. What is far off is marked by maxOnes ones and written in full.
func pack(b []byte, values []int64) []byte {
	base := int64(0)
	if sorted := slices.Sorted(slices.Values(values)); len(sorted) > 0 {
		base = sorted[len(sorted)/2]
	}
	far := make([]uint64, len(values))
	for i, v := range values {
		far[i] = uint64((v-base)<<1) ^ uint64((v-base)>>63)
	}
	k := parameter(far)
	body := binary.AppendVarint(nil, base)
	w := bitWriter{b: append(body, byte(k))}
	for _, u := range far {
		ones := u >> k
		if ones >= maxOnes {
			w.add(1<<maxOnes-1, maxOnes)
			w.add(u>>32, 32)
			w.add(u&(1<<32-1), 32)
			continue
		}
		w.add(1<<(ones+1)-2, uint(ones)+1)
		w.add(u&(1<<k-1), k)
	}
	body = w.done()
	return append(binary.AppendUvarint(b, uint64(len(body))), body...)
}

const (
	maxOnes      = 20
	maxParameter = 30
)

// parameter is the k with which the numbers take the fewest bits.
func parameter(far []uint64) uint {
	best, least := uint(0), uint64(1<<63)
	for k := uint(0); k <= maxParameter; k++ {
		size := uint64(0)
		for _, u := range far {
			if u>>k >= maxOnes {
				size += maxOnes + 64
				continue
			}
			size += u>>k + 1 + uint64(k)
		}
		if size < least {
			best, least = k, size
		}
	}
	return best
}

// unpack reads n numbers that pack wrote, and returns what follows them.
func unpack(b []byte, n int) (values []int64, rest []byte, err error) {
	cut := fmt.Errorf("%w: numbers are cut off", errSegment)
	size, m := binary.Uvarint(b)
	if m <= 0 || size > uint64(len(b)-m) {
		return nil, nil, cut
	}
	body, rest := b[m:m+int(size)], b[m+int(size):]
	base, m := binary.Varint(body)
	if m <= 0 || m >= len(body) || body[m] > maxParameter {
		return nil, nil, cut
	}
	k := uint(body[m])
	r := bitReader{b: body[m+1:]}
	values = make([]int64, n)
	for i := range values {
		u := r.ones()
		if u == maxOnes {
			u = r.take(32)<<32 | r.take(32)
		} else {
			u = u<<k | r.take(k)
		}
		values[i] = base + (int64(u>>1) ^ -int64(u&1))
	}
	if r.short {
		return nil, nil, cut
	}
	return values, rest, nil
}

// bitWriter appends bits, the highest of a byte first.
type bitWriter struct {
	b    []byte
	acc  uint64
	held uint // bits in acc, below 8
}

// add appends the lower n bits of v; n is at most 56.
func (w *bitWriter) add(v uint64, n uint) {
	w.acc = w.acc<<n | v&(1<<n-1)
	for w.held += n; w.held >= 8; w.held -= 8 {
		w.b = append(w.b, byte(w.acc>>(w.held-8)))
	}
}

func (w *bitWriter) done() []byte {
	if w.held > 0 {
		w.add(0, 8-w.held)
	}
	return w.b
}

// bitReader takes bits off; after the end come zeros, and short is set.
type bitReader struct {
	b     []byte
	at    uint // bit
	short bool
}

func (r *bitReader) take(n uint) (v uint64) {
	for n > 0 {
		if r.at/8 >= uint(len(r.b)) {
			r.short = true
			return v << n
		}
		left := 8 - r.at%8
		m := min(left, n)
		v = v<<m | uint64(r.b[r.at/8])>>(left-m)&(1<<m-1)
		r.at, n = r.at+m, n-m
	}
	return v
}

// ones takes ones and the zero behind them off, or maxOnes ones.
func (r *bitReader) ones() (n uint64) {
	for n < maxOnes {
		if r.at/8 >= uint(len(r.b)) {
			r.short = true
			return n
		}
		left := r.b[r.at/8] << (r.at % 8)
		m := min(uint(bits.LeadingZeros8(^left)), 8-r.at%8, maxOnes-uint(n))
		n, r.at = n+uint64(m), r.at+m
		if n < maxOnes && r.at%8 != 0 || m == 0 {
			r.at++
			return n
		}
	}
	return n
}
