package probe

import (
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

func listNames(names []string) string {
	if len(names) == 0 {
		return "no name (a common name does not count)"
	}
	const most = 10 // a certificate may have hundreds
	if more := len(names) - most; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), more)
	}
	return strings.Join(names, ", ")
}

// leafNames are the names the certificate covers, for people.
func leafNames(leaf *x509.Certificate, xmpp []string) []string {
	var names []string
	for _, n := range slices.Concat(leaf.DNSNames, xmpp) {
		if n = printable(strings.ToLower(n)); len(names) < 64 && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}

// Object identifiers of the names RFC 6120 section 13.7.1.2 allows beside DNS
// names.
var (
	oidSAN      = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidXMPPAddr = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 5}
	oidSRVName  = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 7}
)

// xmppNames are the domains, in ASCII form, that the leaf covers by XmppAddr or
// by an SRVName for federation, which crypto/x509 does not look at. They count
// to the letter: RFC 6125 section 6.4.3 leaves it to each partner whether a
// wildcard in an SRVName covers anything, and RFC 6120 has none in XmppAddr, so
// that a name with one is not to be relied on.
func xmppNames(leaf *x509.Certificate) []string {
	var names []string
	for _, ext := range leaf.Extensions {
		if !ext.Id.Equal(oidSAN) {
			continue
		}
		var seq asn1.RawValue
		if rest, err := asn1.Unmarshal(ext.Value, &seq); err != nil || len(rest) > 0 {
			return nil
		}
		for rest := seq.Bytes; len(rest) > 0; {
			var name asn1.RawValue
			var err error
			if rest, err = asn1.Unmarshal(rest, &name); err != nil {
				return names
			}
			if n := otherName(name); n != "" {
				names = append(names, n)
			}
		}
	}
	return names
}

// otherName is the domain in one general name; empty for other kinds, and for
// what is not DER to the last byte.
func otherName(name asn1.RawValue) string {
	if name.Class != asn1.ClassContextSpecific || name.Tag != 0 || !name.IsCompound {
		return ""
	}
	var id asn1.ObjectIdentifier
	rest, err := asn1.Unmarshal(name.Bytes, &id)
	if err != nil {
		return ""
	}
	var wrapped, value asn1.RawValue
	if rest, err = asn1.Unmarshal(rest, &wrapped); err != nil || len(rest) > 0 || wrapped.Class != asn1.ClassContextSpecific || wrapped.Tag != 0 || !wrapped.IsCompound {
		return ""
	}
	if rest, err = asn1.Unmarshal(wrapped.Bytes, &value); err != nil || len(rest) > 0 || value.Class != asn1.ClassUniversal || value.IsCompound {
		return ""
	}
	switch text := string(value.Bytes); {
	case id.Equal(oidXMPPAddr) && value.Tag == asn1.TagUTF8String:
		return asciiDomain(text)
	case id.Equal(oidSRVName) && value.Tag == asn1.TagIA5String:
		// RFC 4985: _Service.Name, the name in ASCII form.
		if domain, ok := strings.CutPrefix(lowerASCII(text), "_xmpp-server."); ok && isASCII(domain) {
			return domain
		}
	}
	return ""
}

// maxDomainText is more than any domain takes in any script: 253 characters of
// at most four bytes. Punycode takes time by the square of a label's length.
const maxDomainText = 1024

// asciiDomain is a domain in ASCII form and lower case; empty when it has none.
// Of labels that are not ASCII it takes only what may be registered (RFC 5891):
// nothing is mapped, because letters that merely look or fold alike make another
// name (RFC 6125, section 6.4.2).
func asciiDomain(s string) string {
	if len(s) > maxDomainText {
		return ""
	}
	s = lowerASCII(s)
	if isASCII(s) {
		return s
	}
	ascii, err := idna.Registration.ToASCII(s)
	if err != nil || !isASCII(ascii) {
		return ""
	}
	return ascii
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) < 0
}

// lowerASCII leaves everything but A to Z alone: to other letters, lower case
// may be another letter.
func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
