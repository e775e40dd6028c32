package actionstest

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/rc4"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"golang.org/x/crypto/md4" //nolint:staticcheck // SA1019: NTLM is made of it
)

// The acceptor's side of NTLMv2 with message sealing ([MS-NLMP]), over one
// connection.

const (
	ntlmUnicode       = 1 << 0
	ntlmRequestTarget = 1 << 2
	ntlmSign          = 1 << 4
	ntlmSeal          = 1 << 5
	ntlmNTLM          = 1 << 9
	ntlmAlwaysSign    = 1 << 15
	ntlmTargetServer  = 1 << 17
	ntlmExtended      = 1 << 19
	ntlmTargetInfo    = 1 << 23
	ntlmVersion       = 1 << 25
	ntlm128           = 1 << 29
	ntlmKeyExchange   = 1 << 30
	ntlm56            = 1 << 31

	avNbComputer  = 1
	avNbDomain    = 2
	avDNSComputer = 3
	avDNSDomain   = 4
	avFlags       = 6
	avTimestamp   = 7
	avBindings    = 10
	avMIC         = 2 // bit of avFlags
)

var ntlmSignature = []byte("NTLMSSP\x00")

// acceptor is the state of one NTLM logon.
type acceptor struct {
	challenge      [8]byte
	type1, type2   []byte
	user           string
	in, out        *rc4.Cipher
	inKey, outKey  []byte
	inSeq, outSeq  uint32
	sealed, logged bool
}

func messageType(token []byte) uint32 {
	if len(token) < 12 || !bytes.HasPrefix(token, ntlmSignature) {
		return 0
	}
	return binary.LittleEndian.Uint32(token[8:])
}

func utf16le(s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

func fromUTF16(b []byte) string {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return string(utf16.Decode(units))
}

func hmacMD5(key []byte, parts ...[]byte) []byte {
	m := hmac.New(md5.New, key)
	for _, p := range parts {
		m.Write(p)
	}
	return m.Sum(nil)
}

func md5Of(parts ...[]byte) []byte {
	h := md5.New()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

func avPair(id uint16, value []byte) []byte {
	b := binary.LittleEndian.AppendUint16(nil, id)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(value)))
	return append(b, value...)
}

// begin answers a NEGOTIATE message with a CHALLENGE.
func (a *acceptor) begin(type1 []byte, host string) ([]byte, error) {
	if len(type1) < 16 {
		return nil, errors.New("short NEGOTIATE message")
	}
	*a = acceptor{type1: bytes.Clone(type1)}
	if _, err := rand.Read(a.challenge[:]); err != nil {
		return nil, err
	}
	offered := binary.LittleEndian.Uint32(type1[12:])
	flags := offered&(ntlmSign|ntlmSeal|ntlmKeyExchange|ntlm128|ntlm56|ntlmAlwaysSign|ntlmVersion) |
		ntlmUnicode | ntlmRequestTarget | ntlmNTLM | ntlmTargetServer | ntlmExtended | ntlmTargetInfo

	netbios := strings.ToUpper(strings.SplitN(host, ".", 2)[0])
	filetime := uint64(time.Now().UnixNano()/100) + 116444736000000000
	info := bytes.Join([][]byte{
		avPair(avNbDomain, utf16le(netbios)), avPair(avNbComputer, utf16le(netbios)),
		avPair(avDNSDomain, utf16le(host)), avPair(avDNSComputer, utf16le(host)),
		avPair(avTimestamp, binary.LittleEndian.AppendUint64(nil, filetime)), avPair(0, nil),
	}, nil)
	name := utf16le(netbios)

	const fixed = 56
	m := bytes.NewBuffer(nil)
	m.Write(ntlmSignature)
	field := func(n, offset int) []byte {
		b := binary.LittleEndian.AppendUint16(nil, uint16(n))
		b = binary.LittleEndian.AppendUint16(b, uint16(n))
		return binary.LittleEndian.AppendUint32(b, uint32(offset))
	}
	m.Write(binary.LittleEndian.AppendUint32(nil, 2))
	m.Write(field(len(name), fixed))
	m.Write(binary.LittleEndian.AppendUint32(nil, flags))
	m.Write(a.challenge[:])
	m.Write(make([]byte, 8))
	m.Write(field(len(info), fixed+len(name)))
	m.Write([]byte{6, 3, 0x80, 0x25, 0, 0, 0, 15}) // 6.3.9600, as Windows Server 2012 R2 says
	m.Write(name)
	m.Write(info)
	a.type2 = m.Bytes()
	return a.type2, nil
}

// payload reads a length/offset field of an AUTHENTICATE message.
func payload(m []byte, at int) ([]byte, error) {
	if len(m) < at+8 {
		return nil, errors.New("short AUTHENTICATE message")
	}
	n, offset := int(binary.LittleEndian.Uint16(m[at:])), int(binary.LittleEndian.Uint32(m[at+4:]))
	if offset+n > len(m) || offset < 0 {
		return nil, errors.New("AUTHENTICATE message points outside itself")
	}
	return m[offset : offset+n], nil
}

// finish checks an AUTHENTICATE message and sets up sealing. Bindings, if not
// nil, are the channel bindings that must stand in it.
func (a *acceptor) finish(type3 []byte, account, password string, bindings []byte) error {
	if a.type2 == nil || len(type3) < 72 {
		return errors.New("no CHALLENGE was sent")
	}
	var parts [5][]byte // NT response, domain, user, session key
	for i, at := range []int{20, 28, 36, 52} {
		var err error
		if parts[i], err = payload(type3, at); err != nil {
			return err
		}
	}
	response, domain, user, sessionKey := parts[0], fromUTF16(parts[1]), fromUTF16(parts[2]), parts[3]
	if !strings.EqualFold(user, account) && !strings.EqualFold(domain+`\`+user, account) {
		return fmt.Errorf("unknown account %s\\%s", domain, user)
	}
	if len(response) < 44 {
		return errors.New("no NTLMv2 response")
	}
	h := md4.New()
	h.Write(utf16le(password))
	key := hmacMD5(h.Sum(nil), utf16le(strings.ToUpper(user)+domain))
	proof, temp := response[:16], response[16:]
	if !hmac.Equal(proof, hmacMD5(key, a.challenge[:], temp)) {
		return errors.New("wrong password")
	}
	exported := hmacMD5(key, proof)
	flags := binary.LittleEndian.Uint32(type3[60:])
	if flags&ntlmKeyExchange != 0 {
		if len(sessionKey) != 16 {
			return errors.New("no session key")
		}
		c, err := rc4.NewCipher(exported)
		if err != nil {
			return err
		}
		exported = make([]byte, 16)
		c.XORKeyStream(exported, sessionKey)
	}
	if err := a.checkPairs(temp[28:], type3, exported, bindings); err != nil {
		return err
	}
	a.user, a.logged = user, true
	return a.keys(flags, exported)
}

// checkPairs checks what the client's target information promises: a message
// integrity code and channel bindings.
func (a *acceptor) checkPairs(info, type3, exported, bindings []byte) error {
	var bound []byte
	for len(info) >= 4 {
		id, n := binary.LittleEndian.Uint16(info), int(binary.LittleEndian.Uint16(info[2:]))
		if id == 0 || len(info) < 4+n {
			break
		}
		value := info[4 : 4+n]
		switch {
		case id == avBindings:
			bound = value
		case id == avFlags && n == 4 && binary.LittleEndian.Uint32(value)&avMIC != 0:
			blank := bytes.Clone(type3)
			clear(blank[72:88])
			if !hmac.Equal(type3[72:88], hmacMD5(exported, a.type1, a.type2, blank)) {
				return errors.New("wrong message integrity code")
			}
		}
		info = info[4+n:]
	}
	if bindings != nil && !bytes.Equal(bound, bindings) {
		return errors.New("channel bindings are missing or of another channel")
	}
	return nil
}

func (a *acceptor) keys(flags uint32, exported []byte) error {
	if flags&ntlmSeal == 0 {
		return nil
	}
	weak := exported
	if flags&ntlm128 == 0 {
		weak = exported[:7]
	}
	derive := func(key []byte, what string) []byte {
		return md5Of(key, []byte("session key to "+what+" key magic constant\x00"))
	}
	a.inKey, a.outKey = derive(exported, "client-to-server signing"), derive(exported, "server-to-client signing")
	var err error
	if a.in, err = rc4.NewCipher(derive(weak, "client-to-server sealing")); err != nil {
		return err
	}
	if a.out, err = rc4.NewCipher(derive(weak, "server-to-client sealing")); err != nil {
		return err
	}
	a.sealed = true
	return nil
}

func signature(c *rc4.Cipher, key []byte, seq uint32, message []byte) []byte {
	n := binary.LittleEndian.AppendUint32(nil, seq)
	sum := hmacMD5(key, n, message)[:8]
	c.XORKeyStream(sum, sum)
	out := binary.LittleEndian.AppendUint32(nil, 1)
	return append(append(out, sum...), n...)
}

const (
	boundary    = "--Encrypted Boundary"
	sealedProto = "application/HTTP-SPNEGO-session-encrypted"
	octetLine   = "\tContent-Type: application/octet-stream\r\n"
)

// seal wraps an answer ([MS-WSMV] 2.2.9.1).
func (a *acceptor) seal(message []byte) []byte {
	cipher := make([]byte, len(message))
	a.out.XORKeyStream(cipher, message)
	sig := signature(a.out, a.outKey, a.outSeq, message)
	a.outSeq++
	var b bytes.Buffer
	b.WriteString(boundary + "\r\n\tContent-Type: " + sealedProto + "\r\n")
	fmt.Fprintf(&b, "\tOriginalContent: type=application/soap+xml;charset=UTF-8;Length=%d\r\n", len(message))
	b.WriteString(boundary + "\r\n" + octetLine)
	b.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(sig))))
	b.Write(sig)
	b.Write(cipher)
	b.WriteString(boundary + "--\r\n")
	return b.Bytes()
}

// unseal opens a request and checks its length and signature.
func (a *acceptor) unseal(body []byte) ([]byte, error) {
	head, rest, ok := bytes.Cut(body, []byte(octetLine))
	_, after, ok2 := bytes.Cut(head, []byte("Length="))
	if !ok || !ok2 {
		return nil, errors.New("not a sealed message")
	}
	digits, _, _ := bytes.Cut(after, []byte("\r\n"))
	want, err := strconv.Atoi(string(digits))
	if err != nil {
		return nil, err
	}
	rest, ok = bytes.CutSuffix(rest, []byte(boundary+"--\r\n"))
	if !ok || len(rest) != want+20 || binary.LittleEndian.Uint32(rest) != 16 {
		return nil, fmt.Errorf("sealed message of %d bytes, %d announced", len(rest)-20, want)
	}
	message := make([]byte, want)
	a.in.XORKeyStream(message, rest[20:])
	if !hmac.Equal(rest[4:20], signature(a.in, a.inKey, a.inSeq, message)) {
		return nil, errors.New("wrong signature")
	}
	a.inSeq++
	return message, nil
}
