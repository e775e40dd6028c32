package web

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"edgewatch/watchdog"
)

// witnessBody is the answer of /witness/{federation}. Fields are only ever
// added.
type witnessBody struct {
	Vantage    string                            `json:"vantage"`          // where this edgewatch looks from
	Instance   string                            `json:"instance"`         // of this process: nobody is a witness of their own
	AgeSeconds *float64                          `json:"age_seconds"`      // of the last round, by this process's clock: those of two hosts differ
	Pools      map[string]watchdog.PoolTestimony `json:"pools"`            // what that round says
	Unsure     string                            `json:"unsure,omitempty"` // why a pool that is seen down may not be
}

// serveWitness tells what the last round saw. It asks nobody anything.
func (h *health) serveWitness(w http.ResponseWriter, r *http.Request, federation string) {
	if !allow(w, r, http.MethodGet, http.MethodHead) {
		return
	}
	s := find(h.Watchdog, federation)
	switch {
	case s == nil && h.starting():
		replyText(w, http.StatusServiceUnavailable, "starting")
		return
	case s == nil:
		replyText(w, http.StatusNotFound, "not found: no such federation")
		return
	}
	body, err := json.Marshal(testify(s, h.Now(), h.Instance))
	if err != nil {
		replyText(w, http.StatusInternalServerError, "the testimony cannot be put into words")
		return
	}
	reply(w, http.StatusOK, "application/json", append(body, '\n'))
}

// testify is what the snapshot says to another edgewatch.
func testify(s *watchdog.Snapshot, now time.Time, instance string) witnessBody {
	age := roundAge(s, now).Seconds()
	b := witnessBody{Vantage: s.Vantage, Instance: instance, AgeSeconds: &age, Pools: map[string]watchdog.PoolTestimony{}, Unsure: unsure(s, now)}
	if b.Unsure == "" && s.Frozen != "" {
		b.Unsure = "frozen"
	}
	for _, p := range s.Pools {
		t := watchdog.PoolTestimony{Verdict: p.Verdict, Why: p.Why}
		if b.Unsure != "" && t.Verdict == watchdog.PoolDown {
			t.Verdict = watchdog.Inconclusive // whoever reads no further must not take it for evidence
		}
		b.Pools[p.Name] = t
	}
	return b
}

// roundAge is how old the last round is: by the monotonic clock, which is not
// set, and by the wall clock, which goes on while the machine sleeps, whichever
// says more.
func roundAge(s *watchdog.Snapshot, now time.Time) time.Duration {
	if s.LastRound.IsZero() {
		return 0
	}
	age := now.Round(0).Sub(s.LastRound.Round(0))
	if !s.Began.IsZero() {
		age = max(age, now.Sub(s.Began))
	}
	return age
}

// WitnessOptions are what a WitnessClient needs.
type WitnessOptions struct {
	RootCAs  *x509.CertPool // of https witnesses; nil: the system's
	Instance string         // of this process, which is no witness of its own
}

// WitnessClient asks other edgewatches what they see. Its methods are safe for
// concurrent use.
type WitnessClient struct {
	instance string
	http     *http.Client
}

// NewWitnessClient makes a WitnessClient. It connects only when asked.
func NewWitnessClient(o WitnessOptions) *WitnessClient {
	return &WitnessClient{instance: o.Instance, http: &http.Client{
		// A new connection each time, by no proxy: it is rarely needed, and what is
		// remembered of the last one would be one thing more that can be stale.
		Transport: &http.Transport{
			TLSClientConfig:        &tls.Config{RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12},
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: maxHeader,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Limits of what a witness may say.
const (
	maxTestimony = 64 << 10
	maxPools     = 100
	maxWords     = 300
)

// Ask asks the witness at that URL about a federation, and returns when ctx
// ends at the latest. It believes nothing that is not said in full. The words
// of an error are the same as long as its cause is.
func (c *WitnessClient) Ask(ctx context.Context, witness, federation string) (watchdog.Testimony, error) {
	u, err := url.JoinPath(witness, "witness", url.PathEscape(federation))
	if err != nil {
		return watchdog.Testimony{}, fmt.Errorf("its URL: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, http.NoBody)
	if err != nil {
		return watchdog.Testimony{}, fmt.Errorf("its URL: %w", err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return watchdog.Testimony{}, noTestimony(err)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotFound:
		return watchdog.Testimony{}, fmt.Errorf("it knows no federation %s", federation)
	case resp.StatusCode != http.StatusOK:
		return watchdog.Testimony{}, fmt.Errorf("it answers %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxTestimony+1))
	switch {
	case err != nil:
		return watchdog.Testimony{}, noTestimony(err)
	case len(body) > maxTestimony:
		return watchdog.Testimony{}, fmt.Errorf("its answer is longer than %d kB", maxTestimony>>10)
	}
	return c.hear(body)
}

// hear reads an answer.
func (c *WitnessClient) hear(body []byte) (watchdog.Testimony, error) {
	var b witnessBody
	switch err := json.Unmarshal(body, &b); {
	case err != nil:
		return watchdog.Testimony{}, errors.New("its answer is no testimony: " + words(err.Error()))
	case b.AgeSeconds == nil || b.Pools == nil || len(b.Pools) > maxPools:
		return watchdog.Testimony{}, errors.New("its answer is no testimony: age_seconds or pools is missing")
	case b.Instance != "" && b.Instance == c.instance:
		return watchdog.Testimony{}, errors.New("it is this edgewatch itself, which sees nothing else from there")
	}
	const longest = 365 * 24 * 60 * 60
	age := min(max(*b.AgeSeconds, -1), longest)
	t := watchdog.Testimony{
		Vantage: words(b.Vantage), Instance: words(b.Instance), Age: time.Duration(age * float64(time.Second)), Unsure: words(b.Unsure),
		Pools: make(map[string]watchdog.PoolTestimony, len(b.Pools)),
	}
	for name, p := range b.Pools {
		t.Pools[name] = watchdog.PoolTestimony{Verdict: p.Verdict, Why: words(p.Why)}
	}
	return t, nil
}

// words is what a witness said, short and printable: people read it.
func words(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if runes := []rune(s); len(runes) > maxWords {
		s = string(runes[:maxWords]) + "…"
	}
	return s
}

// noTestimony is why a witness could not be asked, without ports of ours.
func noTestimony(err error) error {
	if _, ok := errors.AsType[*net.OpError](err); !ok && errors.Is(err, context.DeadlineExceeded) {
		return errors.New("it does not answer in time")
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("no connection in time")
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return fmt.Errorf("no connection: %w", op.Err)
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		return errors.New("no answer: " + words(u.Err.Error()))
	}
	return errors.New("no answer: " + words(err.Error()))
}
