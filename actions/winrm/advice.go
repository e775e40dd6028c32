package winrm

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"

	"edgewatch/actions"
)

func (c *Client) account() string {
	if c.o.Auth == Certificate {
		return "the account of the client certificate"
	}
	return c.o.User
}

// class says what may happen after a command failed on its way, and what a
// person should do.
func (c *Client) class(s Script, at stage, err error) (actions.Kind, string) {
	if at >= commandSent && s.Writes {
		// Whoever refused the message, the command may have been started.
		return actions.Indeterminate, fmt.Sprintf("whether it took effect on %s is unknown until it is checked", c.o.Host)
	}
	if errors.Is(err, ErrLogon) {
		return actions.Rejected, fmt.Sprintf("check that the account %s can log on to %s via WinRM: its password, lockout, the group Remote Management Users, and that %s is allowed (winrm get winrm/config/service/auth)",
			c.account(), c.o.Host, c.o.Auth)
	}
	if errors.Is(err, errNoNTLM) {
		return actions.Rejected, fmt.Sprintf("allow Negotiate on %s (winrm set winrm/config/service/auth @{Negotiate=\"true\"}) or configure another auth", c.o.Host)
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return actions.Rejected, fmt.Sprintf("configure the CA that issued the certificate of %s, or the name that stands in it", c.o.Addr)
	}
	if alert, ok := errors.AsType[*net.OpError](err); ok && alert.Op == "remote error" && at <= shellAsked { // how crypto/tls marks an alert
		return actions.Rejected, fmt.Sprintf("%s ended TLS: check that it accepts TLS 1.2 and that the client certificate is mapped to an account there", c.o.Host)
	}
	if f, ok := errors.AsType[*Fault](err); ok {
		return c.classFault(f)
	}
	if at >= commandSent {
		return actions.Transient, ""
	}
	return actions.Transient, c.unreachable(err)
}

func (c *Client) classFault(f *Fault) (actions.Kind, string) {
	switch f.Code {
	case codeAccessDenied:
		return actions.Rejected, fmt.Sprintf("add %s to the group Remote Management Users or Administrators of %s", c.account(), c.o.Host)
	case codeMaxShells, codeMaxOps:
		return actions.Transient, fmt.Sprintf("too many shells of %s are open on %s: close them, or raise MaxShellsPerUser (winrm get winrm/config/winrs)", c.account(), c.o.Host)
	}
	if f.HTTP == http.StatusNotFound {
		return actions.Rejected, fmt.Sprintf("what answers at %s is not WinRM: check the address, or run winrm quickconfig on the host", c.o.Addr)
	}
	if f.Code == 0 {
		return actions.Transient, fmt.Sprintf("check the WinRM service of %s and what stands between (winrm id -r:%s)", c.o.Host, c.o.Host)
	}
	return actions.Transient, ""
}

// unreachable advises on a connection that was not made.
func (c *Client) unreachable(err error) string {
	scheme := "http"
	if c.o.HTTPS {
		scheme = "https"
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return fmt.Sprintf("check that the name %s resolves from here, or configure the address", dns.Name)
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return fmt.Sprintf("%s does not speak TLS: check the port, or run winrm quickconfig -transport:https on %s", c.o.Addr, c.o.Host)
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Sprintf("run winrm quickconfig -transport:%s on %s, and check that its listener is %s", scheme, c.o.Host, c.o.Addr)
	}
	return fmt.Sprintf("check that %s is up and that a firewall lets %s through from here", c.o.Host, c.o.Addr)
}

// classPS classes an error that PowerShell reported. A typed error says that
// the cmdlet gave up, so trying again cannot help; a time-out says that nobody
// knows how far it got.
func (c *Client) classPS(s Script, e *PSError) (actions.Kind, string) {
	id, _, _ := strings.Cut(e.ID, ",")
	switch id {
	case "edgewatch:no-module":
		return actions.Rejected, fmt.Sprintf("install the Skype for Business or Lync administrative tools on %s, or configure the module's name", c.o.Host)
	case "edgewatch:changed":
		return actions.Rejected, fmt.Sprintf("somebody changed it since it was read: look at it on %s, then start again", c.o.Host)
	case "CommandNotFoundException":
		return actions.Rejected, fmt.Sprintf("%s is not a cmdlet of %s: check the module's name and that the account's role has it", e.Cmdlet, c.o.Host)
	case "NamedParameterNotFound":
		return actions.Rejected, fmt.Sprintf("look at (Get-Command %s).Parameters.Keys on %s and pin the parameter's name", e.Cmdlet, c.o.Host)
	}
	switch e.Type {
	case "System.TimeoutException", "System.ServiceProcess.TimeoutException":
		return s.lost(), fmt.Sprintf("look at the services of %s (Get-CsWindowsService)", c.o.Host)
	case "System.UnauthorizedAccessException":
		return actions.Rejected, c.mayNot()
	}
	if e.Category == "PermissionDenied" || e.Category == "SecurityError" {
		return actions.Rejected, c.mayNot()
	}
	return actions.Rejected, fmt.Sprintf("run it by hand on %s as %s and see", c.o.Host, c.account())
}

func (c *Client) mayNot() string {
	return fmt.Sprintf("give %s the right to run this cmdlet on %s (on an Edge Server: local Administrators)", c.account(), c.o.Host)
}
