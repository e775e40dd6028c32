package configs

import (
	"fmt"
	"net"
	"reflect"
	"strings"
)

// ports of WinRM.
const (
	winrmHTTP  = "5985"
	winrmHTTPS = "5986"
)

// inherit fills what a host leaves open from its federation, and what has no
// fixed default from what is around it.
func (c *Config) inherit() {
	for i := range c.Federations {
		f := &c.Federations[i]
		path := fmt.Sprintf("federations[%d]", i)
		c.host(path+".management.winrm", f.Management.Host, &f.Management.WinRM, f.WinRM)
		for j := range f.Pools {
			p := &f.Pools[j]
			for k, a := range p.Addresses {
				p.Addresses[k] = a.Unmap() // ::ffff:192.0.2.1 belongs into an A record
			}
			p.Site = withoutPrefix(p.Site, "site:")
			pool := fmt.Sprintf("%s.pools[%d]", path, j)
			if !c.src.given(pool + ".srv_priority") {
				p.SRVPriority = 10 * j
			}
			if p.Management != nil {
				c.host(pool+".management.winrm", p.Management.Host, &p.Management.WinRM, f.Management.WinRM)
			}
			for k := range p.Servers {
				c.host(fmt.Sprintf("%s.servers[%d].winrm", pool, k), p.Servers[k].FQDN, &p.Servers[k].WinRM, f.WinRM)
			}
		}
	}
}

// host fills the WinRM settings of one host, given at path, from those
// around it. The address and the certificate's name belong to one host and
// are never handed on.
func (c *Config) host(path, host string, w *WinRM, from WinRM) {
	from.Addr, from.ServerName = "", ""
	v, outer := reflect.ValueOf(w).Elem(), reflect.ValueOf(from)
	for i := range v.NumField() {
		if !c.src.given(join(path, keyOf(v.Type().Field(i)))) {
			v.Field(i).Set(outer.Field(i))
		}
	}
	if w.Auth == "certificate" {
		c.dropInherited(path, "credential", &w.Credential)
	} else {
		c.dropInherited(path, "cert_file", &w.CertFile)
		c.dropInherited(path, "key_file", &w.KeyFile)
	}
	if !w.HTTPS {
		c.dropInherited(path, "ca_file", &w.CAFile)
	}
	if host == "" {
		return
	}
	if w.Addr == "" {
		port := winrmHTTP
		if w.HTTPS {
			port = winrmHTTPS
		}
		w.Addr = net.JoinHostPort(host, port)
	}
	if w.ServerName == "" && w.HTTPS {
		w.ServerName = host
	}
}

// dropInherited empties a value that the host has no use for, unless the host
// itself gave it, which is a contradiction to be told.
func (c *Config) dropInherited(path, key string, word *string) {
	if !c.src.given(join(path, key)) {
		*word = ""
	}
}

// withoutPrefix cuts prefix, in any case, from s.
func withoutPrefix(s, prefix string) string {
	if len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix) {
		return s[len(prefix):]
	}
	return s
}
