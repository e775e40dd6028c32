package probe

import (
	"context"
	"crypto/tls"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
)

// fault is why a probe cannot go on, or what it found wrong on its way.
type fault struct {
	class     Class
	condition string
	blame     Blame // Unclear: the class's own
	text      string
}

func faultf(c Class, format string, args ...any) *fault {
	return &fault{class: c, text: fmt.Sprintf(format, args...)}
}

// local is a fault of our own.
func local(format string, args ...any) *fault { return faultf(LocalError, format, args...) }

// errnoClass sorts what the operating system says about a connection. The
// second result is false for what it does not know.
func errnoClass(err error) (Class, bool) {
	errno, ok := errors.AsType[syscall.Errno](err)
	if !ok {
		return ClassUnknown, false
	}
	c, ok := errnos[errno]
	return c, ok
}

// connectFault is the one place where a failed connect gets its class and its
// blame. What is not known to be the server's doing is ours: an error this
// program has never heard of must not look like a dead pool.
func connectFault(ctx context.Context, err error, routed func() error) *fault {
	if f := cancelled(ctx); f != nil {
		return f
	}
	if c, ok := errnoClass(err); ok {
		if c == Unreachable {
			if rerr := routed(); rerr != nil {
				return local("this machine has no route there: %v", rerr)
			}
		}
		return faultf(c, "%v", err)
	}
	if isTimeout(err) {
		return faultf(Timeout, "no answer to the connection request")
	}
	return local("connecting failed on this machine: %v", err)
}

// cancelled is the fault of a probe whose caller gave up before its time.
func cancelled(ctx context.Context) *fault {
	if ctx.Err() == nil {
		return nil
	}
	return local("the probe was cut short by its caller: %v", context.Cause(ctx))
}

func isTimeout(err error) bool {
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	ne, ok := errors.AsType[net.Error](err)
	return ok && ne.Timeout()
}

// streamFault turns an error of reading the stream into its class.
func streamFault(ctx context.Context, err error, seen int, waiting string) *fault {
	if f := cancelled(ctx); f != nil {
		return f
	}
	if f := tlsFault(err); f != nil {
		return f
	}
	if c, ok := errnoClass(err); ok {
		return faultf(c, "connection broke after %d bytes while waiting for %s: %v", seen, waiting, err)
	}
	_, syntax := errors.AsType[*xml.SyntaxError](err)
	_, forbidden := errors.AsType[xmlError](err)
	switch {
	case errors.Is(err, errTooLarge), errors.Is(err, errTooDeep), errors.Is(err, errTooMany):
		return faultf(TooLarge, "while waiting for %s: %v", waiting, err)
	case isTimeout(err):
		return faultf(Timeout, "waited in vain for %s, %d bytes received", waiting, seen)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, errStreamEnd):
		return faultf(Closed, "closed after %d bytes, before %s", seen, waiting)
	case syntax, forbidden: // the decoder quotes the peer's bytes as they are and all of them
		return faultf(BadXML, "while waiting for %s: %s", waiting, printable(err.Error()))
	case errors.Is(err, io.ErrClosedPipe):
		return faultf(Closed, "closed after %d bytes, before %s", seen, waiting)
	}
	return &fault{class: LocalError, blame: Unclear, text: fmt.Sprintf("waiting for %s: %v", waiting, err)}
}

// tlsFault recognizes what the peer or our own TLS said; nil for anything
// else. An alert on TCP has no exported type.
func tlsFault(err error) *fault {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		switch op.Op {
		case "remote error":
			name := alertName(op.Err)
			return &fault{class: TLSAlert, condition: name, text: "the server sent the TLS alert " + name}
		case "local error":
			return faultf(TLSFailed, "%v", op.Err)
		}
	}
	if rec, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return faultf(NotTLS, "%s: it began with %s", rec.Msg, evidence(rec.RecordHeader[:]))
	}
	if s := err.Error(); strings.HasPrefix(s, "tls: ") || strings.HasPrefix(s, "x509: ") {
		return faultf(TLSFailed, "%s", printable(s)) // it may quote a certificate at length
	}
	return nil
}

// handshakeFault turns an error of the handshake into its class.
func handshakeFault(ctx context.Context, err error, seen int) *fault {
	f := streamFault(ctx, err, seen, "the TLS handshake")
	if f.class == BadXML || (f.class == LocalError && ctx.Err() == nil) {
		return faultf(TLSFailed, "%s", printable(err.Error())) // it may quote a certificate at length
	}
	return f
}

// alertNames are the words of the IANA registry by the number of the alert.
var alertNames = map[uint8]string{
	0: "close_notify", 10: "unexpected_message", 20: "bad_record_mac", 21: "decryption_failed",
	22: "record_overflow", 30: "decompression_failure", 40: "handshake_failure", 42: "bad_certificate",
	43: "unsupported_certificate", 44: "certificate_revoked", 45: "certificate_expired",
	46: "certificate_unknown", 47: "illegal_parameter", 48: "unknown_ca", 49: "access_denied",
	50: "decode_error", 51: "decrypt_error", 60: "export_restriction", 70: "protocol_version",
	71: "insufficient_security", 80: "internal_error", 86: "inappropriate_fallback", 90: "user_canceled",
	100: "no_renegotiation", 109: "missing_extension", 110: "unsupported_extension",
	111: "certificate_unobtainable", 112: "unrecognized_name", 113: "bad_certificate_status_response",
	114: "bad_certificate_hash_value", 115: "unknown_psk_identity", 116: "certificate_required",
	120: "no_application_protocol", 121: "ech_required",
}

// alertName finds the registry's word for an alert by the text crypto/tls
// prints, which is all it gives.
func alertName(err error) string {
	text := err.Error()
	for code, name := range alertNames {
		if tls.AlertError(code).Error() == text {
			return name
		}
	}
	return "unknown"
}
