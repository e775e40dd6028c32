package winrm

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Namespaces and actions of WS-Management (DSP0226) and its Windows shell
// ([MS-WSMV]).
const (
	nsEnvelope   = "http://www.w3.org/2003/05/soap-envelope"
	nsAddressing = "http://schemas.xmlsoap.org/ws/2004/08/addressing"
	nsShell      = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell"

	actionCreate  = "http://schemas.xmlsoap.org/ws/2004/09/transfer/Create"
	actionDelete  = "http://schemas.xmlsoap.org/ws/2004/09/transfer/Delete"
	actionCommand = nsShell + "/Command"
	actionReceive = nsShell + "/Receive"
	actionSignal  = nsShell + "/Signal"
	stateDone     = nsShell + "/CommandState/Done"
)

// Codes of WSManFault that mean something here.
const (
	codeAccessDenied = 5
	codeTimedOut     = 2150858793 // no output within the operation timeout: ask again
	codeShellGone    = 2150858843
	codeMaxShells    = 2150859173
	codeMaxOps       = 2150859174
)

// Fault is a refusal by the WinRM service or by something on the way to it.
type Fault struct {
	HTTP    int    // status
	Code    uint32 // WSManFault code; 0 if the answer was not a SOAP fault
	Subcode string // e.g. "w:TimedOut"
	Reason  string // in the server's language: shown, never matched
}

// Error implements error.
func (f *Fault) Error() string {
	if f.Code == 0 && f.Subcode == "" {
		return fmt.Sprintf("HTTP %d: %s", f.HTTP, f.Reason)
	}
	return fmt.Sprintf("WinRM fault %d %s (HTTP %d): %s", f.Code, f.Subcode, f.HTTP, f.Reason)
}

// errMalformed says that an answer was no WinRM answer.
var errMalformed = errors.New("answer is not WinRM's")

type envelope struct {
	XMLName xml.Name `xml:"http://www.w3.org/2003/05/soap-envelope Envelope"`
	Header  struct {
		Action string `xml:"http://schemas.xmlsoap.org/ws/2004/08/addressing Action"`
	} `xml:"Header"`
	Body struct {
		Fault    *soapFault `xml:"Fault"`
		Shell    string     `xml:"Shell>ShellId"`
		Selector []struct {
			Name  string `xml:"Name,attr"`
			Value string `xml:",chardata"`
		} `xml:"ResourceCreated>ReferenceParameters>SelectorSet>Selector"`
		Command string `xml:"CommandResponse>CommandId"`
		Receive *struct {
			Streams []struct {
				Name string `xml:"Name,attr"`
				Data string `xml:",chardata"`
			} `xml:"Stream"`
			State struct {
				State    string `xml:"State,attr"`
				ExitCode string `xml:"ExitCode"`
			} `xml:"CommandState"`
		} `xml:"ReceiveResponse"`
	} `xml:"Body"`
}

type soapFault struct {
	Subcode string   `xml:"Code>Subcode>Value"`
	Reason  []string `xml:"Reason>Text"`
	Detail  struct {
		Code string `xml:"Code,attr"`
	} `xml:"Detail>WSManFault"`
}

// maxDepth bounds the nesting of an answer; WinRM's own is below ten.
const maxDepth = 64

// parseEnvelope reads a whole SOAP document and nothing after it.
func parseEnvelope(raw []byte) (*envelope, error) {
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil, fmt.Errorf("%w: it is empty", errMalformed)
	}
	dec := xml.NewDecoder(bytes.NewReader(raw))
	for depth, roots := 0, 0; ; {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errMalformed, err)
		}
		switch tok.(type) {
		case xml.StartElement:
			if depth == 0 {
				roots++
			}
			depth++
		case xml.EndElement:
			depth--
		}
		if depth > maxDepth || roots > 1 {
			return nil, fmt.Errorf("%w: nested too deeply or more than one document", errMalformed)
		}
	}
	env := new(envelope)
	if err := xml.Unmarshal(raw, env); err != nil {
		return nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	return env, nil
}

// fault returns the typed fault in env, or nil.
func (e *envelope) fault(status int) *Fault {
	if e.Body.Fault == nil {
		return nil
	}
	f := &Fault{HTTP: status, Subcode: strings.TrimSpace(e.Body.Fault.Subcode)}
	if code, err := strconv.ParseUint(e.Body.Fault.Detail.Code, 10, 32); err == nil {
		f.Code = uint32(code)
	}
	if len(e.Body.Fault.Reason) > 0 {
		f.Reason = clip(e.Body.Fault.Reason[0], 300)
	}
	return f
}

// answer checks that env answers action and writes the document that masterzen
// gets to see: our own, with nothing in it but what was checked.
func (e *envelope) answer(action string) (string, error) {
	if want := action + "Response"; e.Header.Action != want {
		return "", fmt.Errorf("%w: action %q where %q was due", errMalformed, clip(e.Header.Action, 80), want)
	}
	var body string
	switch action {
	case actionCreate:
		id := e.Body.Shell
		for _, s := range e.Body.Selector {
			if s.Name == "ShellId" && id == "" {
				id = s.Value
			}
		}
		if id == "" {
			return "", fmt.Errorf("%w: no shell id", errMalformed)
		}
		body = "<rsp:ShellId>" + escape(id) + "</rsp:ShellId>"
	case actionCommand:
		if e.Body.Command == "" {
			return "", fmt.Errorf("%w: no command id", errMalformed)
		}
		body = "<rsp:CommandId>" + escape(e.Body.Command) + "</rsp:CommandId>"
	case actionReceive:
		var err error
		if body, err = e.received(); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf(`<s:Envelope xmlns:s=%q xmlns:a=%q xmlns:rsp=%q><s:Header><a:Action>%sResponse</a:Action></s:Header><s:Body>%s</s:Body></s:Envelope>`,
		nsEnvelope, nsAddressing, nsShell, action, body), nil
}

func (e *envelope) received() (string, error) {
	r := e.Body.Receive
	if r == nil {
		return "", fmt.Errorf("%w: no output in it", errMalformed)
	}
	var b strings.Builder
	for _, s := range r.Streams {
		data := strings.Join(strings.Fields(s.Data), "")
		if _, err := base64.StdEncoding.DecodeString(data); err != nil {
			return "", fmt.Errorf("%w: stream %q: %w", errMalformed, clip(s.Name, 20), err)
		}
		if s.Name == "stdout" || s.Name == "stderr" {
			fmt.Fprintf(&b, `<rsp:Stream Name=%q>%s</rsp:Stream>`, s.Name, data)
		}
	}
	if r.State.State == stateDone {
		code := strings.TrimSpace(r.State.ExitCode)
		if _, err := strconv.ParseInt(code, 10, 64); err != nil {
			return "", fmt.Errorf("%w: exit code %q", errMalformed, clip(code, 20))
		}
		fmt.Fprintf(&b, `<rsp:CommandState State=%q><rsp:ExitCode>%s</rsp:ExitCode></rsp:CommandState>`, stateDone, code)
	}
	return b.String(), nil
}

// idle reports whether a Receive brought nothing.
func (e *envelope) idle() bool {
	r := e.Body.Receive
	return r != nil && e.size() == 0 && r.State.State != stateDone
}

// size is how much output a Receive brought, as it was sent.
func (e *envelope) size() int {
	n := 0
	if r := e.Body.Receive; r != nil {
		for _, s := range r.Streams {
			n += len(strings.TrimSpace(s.Data))
		}
	}
	return n
}

// actionOf finds the action of a request that masterzen wrote.
func actionOf(request string) string {
	_, rest, _ := strings.Cut(request, "<a:Action")
	_, rest, _ = strings.Cut(rest, ">")
	action, _, _ := strings.Cut(rest, "<")
	return action
}

func escape(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s)) // a bytes.Buffer does not fail
	return b.String()
}

// clip shortens s to n bytes of one line for an error text.
func clip(s string, n int) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > n {
		s = strings.ToValidUTF8(s[:n], "") + "…"
	}
	return s
}
