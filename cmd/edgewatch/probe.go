package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"edgewatch/probe"
)

// probeFlags are the flags of the probe command.
type probeFlags struct {
	domains                []string
	from, ca, cert, key    string
	timeout                time.Duration
	direct, verbose        bool
	srv, config, socket    string
	resolvers              []string
	output                 string
	watch, schema, classes bool
	interval               time.Duration

	given func(flag string) bool // on the command line
}

const defaultPort = 5269

func (t *tool) probeCommand() *cobra.Command {
	var f probeFlags
	cmd := &cobra.Command{
		Use:     "probe HOST[:PORT] --domain DOMAIN",
		Short:   "Ask one server for federation, once, as the watchdog does",
		GroupID: groupAlone,
		Long: "Opens a server-to-server stream to every address of HOST and tells how far it came,\n" +
			"what went wrong and whose fault it was. With --srv it looks at a domain as a partner's\n" +
			"server does: SRV records, their addresses, and what answers there. It asks every name\n" +
			"server by itself and tells which of them do not agree. With --config, the name servers\n" +
			"and certificates are those of the configuration, and it tells whether DNS leads to the\n" +
			"pool that carries federation by the journal of the running edgewatch.\n\n" +
			"With --watch it asks again and again until it is interrupted, a line for every answer.\n\n" +
			"Exit code 1 when an address is down or DNS leads elsewhere, else 0 when one answers,\n" +
			"else 3; with --watch that of the last round.",
		Example: "  edgewatch probe edge.contoso.com --domain contoso.com\n" +
			"  edgewatch probe 203.0.113.10:5269 --domain contoso.com -v\n" +
			"  edgewatch probe edge.contoso.com --domain contoso.com --watch --interval 2s\n" +
			"  edgewatch probe --srv contoso.com --resolver 192.0.2.53 --resolver 198.51.100.53\n" +
			"  edgewatch probe --srv contoso.com --config /etc/edgewatch/edgewatch.yaml",
	}
	fl := cmd.Flags()
	fl.StringSliceVar(&f.domains, "domain", nil, "`DOMAIN` to ask for; the certificate must cover it and those of further --domain")
	fl.StringVar(&f.from, "from", "", "domain of yours to ask as (default: probe.DOMAIN)")
	fl.StringVar(&f.ca, "ca", "", "`FILE` with the CA certificates to trust, PEM (default: the system's)")
	fl.StringVar(&f.cert, "cert", "", "`FILE` with a client certificate, PEM")
	fl.StringVar(&f.key, "key", "", "`FILE` with its key, PEM")
	fl.DurationVar(&f.timeout, "timeout", probe.DefaultTimeout, "time limit per address")
	fl.BoolVar(&f.direct, "direct-tls", false, "TLS before the stream (XEP-0368); with --srv, follow _xmpps-server too")
	fl.BoolVarP(&f.verbose, "verbose", "v", false, "show the conversation, on standard error")
	fl.StringVar(&f.srv, "srv", "", "look at `DOMAIN` as a partner does, through its SRV records")
	fl.StringSliceVar(&f.resolvers, "resolver", nil, "name server to ask, for HOST too: `ADDRESS[:PORT]`; may be repeated")
	fl.StringVarP(&f.config, "config", "c", "", "with --srv, configuration `FILE` of the federation that has the domain")
	fl.StringVar(&f.socket, "socket", "", "with --config, unix socket `PATH` of the running edgewatch (default: the one in the configuration)")
	fl.BoolVar(&f.watch, "watch", false, "ask again and again until interrupted")
	fl.DurationVar(&f.interval, "interval", 5*time.Second, "with --watch, `TIME` between the starts of two rounds")
	fl.BoolVar(&f.schema, "schema", false, "print the JSON Schema of -o json and do nothing else")
	fl.BoolVar(&f.classes, "classes", false, "print every class there is, what it means and what to check, and do nothing else")
	f.given = fl.Changed
	form := outputFlag(cmd)
	cmd.RunE = action(func(cmd *cobra.Command, args []string) error {
		if f.schema {
			_, err := t.out.Write(probeSchema)
			return err
		}
		f.output = *form
		if f.classes {
			return t.printClasses(f.output)
		}
		return t.probe(cmd.Context(), f, args)
	})
	return cmd
}

func (t *tool) probe(ctx context.Context, f probeFlags, args []string) error {
	asJSON, err := wantsJSON(f.output)
	if err != nil {
		return err
	}
	switch {
	case f.timeout <= 0:
		return usage(errors.New("--timeout must be longer than nothing"))
	case f.interval <= 0:
		return usage(errors.New("--interval must be longer than nothing"))
	case f.srv != "" && f.watch:
		return usage(errors.New("--watch looks at one HOST: leave --srv out"))
	case f.srv != "" && len(args) > 0:
		return usage(errors.New("--srv finds the servers itself: leave HOST out"))
	case f.srv == "" && f.config != "":
		return usage(errors.New("--config goes with --srv: it says where partners of a domain should be led"))
	case f.srv == "" && len(args) != 1:
		return usage(errors.New("say whom to probe: edgewatch probe HOST:PORT --domain DOMAIN"))
	case f.srv == "" && len(f.domains) == 0:
		return usage(errors.New("say with --domain which domain to ask for"))
	case f.srv != "" && len(f.domains) > 0:
		return usage(errors.New("--srv names the domain itself: leave --domain out"))
	case f.config == "" && f.socket != "":
		return usage(errors.New("--socket goes with --config, which says which addresses a pool has"))
	case !f.watch && f.given("interval"):
		return usage(errors.New("--interval goes with --watch, which asks again and again"))
	}
	if err := f.checkDomains(); err != nil {
		return err
	}
	servers, err := resolverAddrs(f.resolvers)
	if err != nil {
		return err
	}
	f.resolvers = servers
	if f.srv != "" {
		return t.probePartner(ctx, f, asJSON)
	}
	if f.from == "" {
		f.from = "probe." + f.domains[0]
	}
	o, err := f.options(t.err, probe.Options{})
	if err != nil {
		return err
	}
	h := hostProbe{t: t, f: f, p: probe.New(o), host: args[0]}
	if f.watch {
		return h.watch(ctx, asJSON)
	}
	return h.once(ctx, asJSON)
}

// checkDomains refuses what no server can be asked for.
func (f *probeFlags) checkDomains() error {
	given := []struct {
		flag    string
		domains []string
	}{{"srv", []string{f.srv}}, {"domain", f.domains}, {"from", []string{f.from}}}
	for _, g := range given {
		for _, d := range g.domains {
			if f.given(g.flag) && !probe.IsDomain(d) {
				return usage(fmt.Errorf("--%s takes a domain in its ASCII form, such as contoso.com, not %q", g.flag, d))
			}
		}
	}
	if len(f.domains) > 0 && strings.EqualFold(strings.TrimSuffix(f.domains[0], "."), strings.TrimSuffix(f.from, ".")) {
		return usage(errors.New("--from is the domain asked for, which servers refuse: name another domain of yours"))
	}
	return nil
}

// options are o with what the flags say instead; it reads the files that they
// name.
func (f *probeFlags) options(stderr io.Writer, o probe.Options) (probe.Options, error) {
	if o.Timeout == 0 || f.given("timeout") {
		o.Timeout = f.timeout
	}
	if f.ca != "" {
		pem, err := os.ReadFile(f.ca)
		if err != nil {
			return o, usage(fmt.Errorf("read CA certificates: %w", err))
		}
		o.RootCAs = x509.NewCertPool()
		if !o.RootCAs.AppendCertsFromPEM(pem) {
			return o, usage(fmt.Errorf("read CA certificates: %s holds none in PEM form", f.ca))
		}
	}
	if f.cert != "" || f.key != "" {
		cert, err := tls.LoadX509KeyPair(f.cert, f.key)
		if err != nil {
			return o, usage(fmt.Errorf("read client certificate: %w", err))
		}
		o.ClientCert = &cert
	}
	if f.verbose {
		o.Trace = func(dir probe.Direction, data []byte) {
			for line := range strings.Lines(string(data)) {
				fmt.Fprintf(stderr, "%s %s\n", dir, printable(strings.TrimRight(line, "\r\n")))
			}
		}
	}
	return o, nil
}

// hostProbe asks every address of one host.
type hostProbe struct {
	t    *tool
	f    probeFlags
	p    *probe.Prober
	host string
}

func (h *hostProbe) once(ctx context.Context, asJSON bool) error {
	at := time.Now()
	results, err := h.round(ctx)
	if err != nil {
		return err
	}
	level := overall(results)
	if asJSON {
		err = h.t.printLines(resultsForScripts(results, at))
	} else {
		h.t.printResults(results)
	}
	return errors.Join(err, levelFailure(level))
}

// round asks every address that the host has now, once.
func (h *hostProbe) round(ctx context.Context) ([]probe.Result, error) {
	addrs, err := addresses(ctx, h.host, h.f.timeout, h.f.resolvers)
	if err != nil {
		return nil, err
	}
	results := make([]probe.Result, len(addrs))
	ask := func(i int) {
		if h.f.verbose && len(addrs) > 1 {
			fmt.Fprintf(h.t.err, "--- %s\n", addrs[i])
		}
		results[i] = h.p.ProbeCovering(ctx, probe.Target{Addr: addrs[i], Domain: h.f.domains[0], From: h.f.from, DirectTLS: h.f.direct}, h.f.domains)
	}
	var wg sync.WaitGroup
	for i := range addrs {
		wg.Go(func() { ask(i) })
		if h.f.verbose {
			wg.Wait() // a transcript of several at once cannot be read
		}
	}
	wg.Wait()
	return results, nil
}

// addresses finds where to probe. Without a resolver it asks the system.
func addresses(ctx context.Context, host string, timeout time.Duration, resolvers []string) ([]netip.AddrPort, error) {
	name, port := host, uint16(defaultPort)
	if ip, err := bareAddr(host); err == nil {
		name = ip.String()
	} else if strings.Contains(host, "//") {
		return nil, usage(fmt.Errorf("%q is a URL: say HOST or HOST:PORT", host))
	} else if h, p, err := net.SplitHostPort(host); err == nil {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return nil, usage(fmt.Errorf("%q is no port", p))
		}
		name, port = h, uint16(n)
	} else if strings.ContainsAny(host, ":[]") || strings.ContainsFunc(host, unicode.IsSpace) {
		return nil, usage(fmt.Errorf("%q is neither HOST:PORT nor an address", host))
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	ips, err := lookup(ctx, name, resolvers)
	if err != nil {
		return nil, &failure{exitUnsure, fmt.Errorf("find the addresses of %s: %w – check the name, or probe an address", name, err)}
	}
	out := make([]netip.AddrPort, 0, len(ips))
	for _, ip := range ips {
		if ap := netip.AddrPortFrom(ip.Unmap(), port); !slices.Contains(out, ap) {
			out = append(out, ap)
		}
	}
	return out, nil
}

// bareAddr reads an address without a port, in brackets or not.
func bareAddr(s string) (netip.Addr, error) {
	if inner, ok := strings.CutPrefix(s, "["); ok && strings.HasSuffix(inner, "]") && strings.Count(inner, "]") == 1 { // both, or a zone swallows the port
		s = inner[:len(inner)-1]
	}
	return netip.ParseAddr(s)
}

// lookup finds the addresses of a name; one that is an address is its own.
func lookup(ctx context.Context, name string, resolvers []string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{ip}, nil
	}
	if len(resolvers) == 0 {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	}
	r := probe.NewResolver(probe.ResolverOptions{Servers: resolvers})
	six, four := r.LookupAAAA(ctx, name), r.LookupA(ctx, name)
	ips := slices.Concat(six.Addrs, four.Addrs)
	for _, l := range []probe.Lookup{four, six} {
		if len(ips) == 0 && l.Class != probe.NoData {
			return nil, fmt.Errorf("%s: %s", l.Class, l.Error)
		}
	}
	if len(ips) == 0 {
		return nil, fmt.Errorf("%s: %s", probe.NoAddress, probe.NoAddress.Meaning())
	}
	return ips, nil
}

// overall is Down when one address is, else what the best one is.
func overall(results []probe.Result) probe.Level {
	level := probe.Inconclusive
	for _, r := range results {
		switch {
		case r.Level == probe.Down:
			return probe.Down
		case r.Level == probe.Degraded, r.Level == probe.Up && level == probe.Inconclusive:
			level = r.Level
		}
	}
	return level
}

// levelFailure is the exit code of a level.
func levelFailure(l probe.Level) error {
	switch l {
	case probe.Up, probe.Degraded:
		return nil
	case probe.Down:
		return &failure{code: exitFailed}
	case probe.Inconclusive:
	}
	return &failure{code: exitUnsure}
}
