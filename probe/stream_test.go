package probe

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"unicode"
	"unicode/utf8"
)

// countingReader counts what is taken from it.
type countingReader struct {
	r io.Reader
	n int
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

const goodStream = `<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' id='1' version='1.0'>` +
	`<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features></stream:stream>`

// TestStreamSegments proves that segment borders change nothing.
func TestStreamSegments(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]io.Reader{
		"one":         strings.NewReader(goodStream),
		"bytes":       iotest.OneByteReader(strings.NewReader(goodStream)),
		"data at EOF": iotest.DataErrReader(strings.NewReader(goodStream)),
		"BOM":         strings.NewReader("\xef\xbb\xbf\n" + goodStream),
		"BOM, bytes":  iotest.OneByteReader(strings.NewReader("\xef\xbb\xbf" + goodStream)),
	} {
		s := newStream(r, nil)
		if other, err := s.sniff(); other != "" || err != nil {
			t.Errorf("%s: sniff says %q, %v", name, other, err)
		}
		h, err := s.header()
		if err != nil || h.id != "1" || h.content != nsServer || h.poor() != "" {
			t.Errorf("%s: header %+v, %v", name, h, err)
		}
		e, err := s.next()
		if err != nil || e.child(nsTLS, "starttls") == nil {
			t.Errorf("%s: features %+v, %v", name, e, err)
		}
		if _, err := s.next(); !errors.Is(err, errStreamEnd) || !s.ended {
			t.Errorf("%s: end is %v", name, err)
		}
	}
}

// TestStreamMarks proves that a byte order mark counts once, at the beginning,
// and that a peer that sends nothing else is read no further than any other.
func TestStreamMarks(t *testing.T) {
	t.Parallel()
	const mark = "\xef\xbb\xbf"
	for name, text := range map[string]string{
		"marks without end": strings.Repeat(mark, 1<<20),
		"a second mark":     mark + mark + goodStream,
		"a mark, later":     " " + mark + goodStream,
		"half a mark":       mark[:2] + goodStream,
	} {
		for _, small := range []bool{false, true} {
			r := &countingReader{r: strings.NewReader(text)}
			var src io.Reader = r
			if small {
				src = iotest.OneByteReader(r)
			}
			other, err := newStream(src, nil).sniff()
			if err != nil || !strings.HasPrefix(other, "no XMPP: it began with") {
				t.Errorf("%s: sniff says %q, %v", name, other, err)
			}
			if r.n > maxPhaseBytes {
				t.Errorf("%s: %d bytes were read", name, r.n)
			}
		}
	}
	r := &countingReader{r: strings.NewReader(mark + strings.Repeat(" ", 1<<20))}
	if _, err := newStream(r, nil).sniff(); !errors.Is(err, errTooLarge) || r.n > maxPhaseBytes+bufferSize {
		t.Errorf("blanks without end: %v after %d bytes", err, r.n)
	}
}

// TestStreamKeepsRest proves that what follows an element is still there for
// whoever comes next, to the byte.
func TestStreamKeepsRest(t *testing.T) {
	t.Parallel()
	s := newStream(strings.NewReader("<a><b/>\x16\x03\x01rest"), nil)
	if _, err := s.header(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.next(); err != nil {
		t.Fatal(err)
	}
	if got := string(s.buffered()); got != "\x16\x03\x01rest" || !looksLikeTLS(s.buffered()) {
		t.Errorf("buffered %q", got)
	}
}

// TestStreamFaultText proves that a peer's bytes which the decoder quotes in
// its complaint do not reach people as they are, nor all of them.
func TestStreamFaultText(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 20_000)
	for name, text := range map[string]string{
		"bytes that are no UTF-8": "<a xmln\xe2\xe2\xe2:b=''/>",
		"an endless name":         "<" + long + "></b>",
		"endless names":           "<a><" + long + "></" + long + "b>",
		"an endless encoding":     "<?xml version='1.0' encoding='" + long + "'?><a>",
		"a line end in the name":  "<?xml version='1.0' encoding='x\n\x85y'?><a>",
	} {
		s := newStream(strings.NewReader(text), nil)
		_, err := s.header()
		if err == nil {
			_, err = s.next()
		}
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		f := streamFault(t.Context(), err, s.seen, "a test")
		if f.class != BadXML || len(f.text) > 4*maxEvidence || !utf8.ValidString(f.text) || strings.IndexFunc(f.text, unicode.IsControl) >= 0 {
			t.Errorf("%s: %s says %d bytes: %.300q", name, f.class, len(f.text), f.text)
		}
	}
}

// recordings are what real servers said, as the integration tests recorded it.
func recordings(tb testing.TB, pattern string) [][]byte {
	tb.Helper()
	paths, err := filepath.Glob("testdata/recorded/" + pattern)
	if err != nil || len(paths) == 0 {
		tb.Fatalf("no recordings %s: %v", pattern, err)
	}
	all := make([][]byte, len(paths))
	for i, path := range paths {
		if all[i], err = os.ReadFile(path); err != nil {
			tb.Fatal(err)
		}
	}
	return all
}

// FuzzStream proves that no peer makes the reader panic, take more than it
// may, or grow without bound.
func FuzzStream(f *testing.F) {
	for _, seed := range []string{
		goodStream, "", "HTTP/1.1 400\r\n", "<!DOCTYPE a>", "<a><!-- -->", "<a b='" + strings.Repeat("x", 100), strings.Repeat("<a>", 50),
		"<?xml version='1.1'?><a>", "<?xml version='1.0' encoding='x'?><a>", "<a>&lt;&bomb;", "\xef\xbb\xbf<a/>", "</stream:stream>",
		"<stream:stream xmlns:stream='http://etherx.jabber.org/streams'><stream:error><see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>x</see-other-host></stream:error>",
	} {
		f.Add([]byte(seed))
	}
	for _, answer := range recordings(f, "*.xml") {
		f.Add(answer)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		src := &countingReader{r: bytes.NewReader(data)}
		s := newStream(src, nil)
		other, err := s.sniff()
		if err == nil && other == "" {
			if _, err = s.header(); err == nil {
				for range 8 {
					var e element
					if e, err = s.next(); err != nil {
						break
					}
					if f := streamError(e); f.text == "" {
						t.Error("a fault without evidence")
					}
					if n := len(e.features()); n > 32 {
						t.Errorf("%d features", n)
					}
				}
			}
		}
		if err != nil {
			if f := streamFault(t.Context(), err, s.seen, "a test"); f.class.Meaning() == "" || f.class == LocalError {
				t.Errorf("%v is %q", err, f.class)
			} else if len(f.text) > 4*maxEvidence || !utf8.ValidString(f.text) || strings.IndexFunc(f.text, unicode.IsControl) >= 0 {
				t.Errorf("%s says %d bytes: %.300q", f.class, len(f.text), f.text)
			}
		}
		_ = s.drain()
		if limit := 2*maxPhaseBytes + 2*bufferSize; src.n > limit {
			t.Errorf("%d bytes read, limit %d", src.n, limit)
		}
	})
}
