package winrm

import (
	"encoding/xml"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf16"
)

const clixmlMark = "#< CLIXML"

// plainError turns what PowerShell writes to stderr into text: CLIXML, in
// which the error stream is split into lines and characters are escaped as
// _x000D_. Progress and other streams are left out. Anything else is returned
// as it is.
func plainError(stderr string) string {
	before, doc, found := strings.Cut(stderr, clixmlMark)
	if !found {
		return stderr
	}
	var b strings.Builder
	b.WriteString(before)
	dec := xml.NewDecoder(strings.NewReader(doc))
	for {
		tok, err := dec.Token()
		if err != nil {
			break
		}
		start, ok := tok.(xml.StartElement)
		if !ok || start.Name.Local != "S" || attr(start, "S") != "Error" {
			continue
		}
		var text string
		if dec.DecodeElement(&text, &start) != nil {
			break
		}
		b.WriteString(unescapeCLIXML(text))
	}
	if b.Len() == 0 && !strings.Contains(doc, "<Objs") {
		return stderr
	}
	return b.String()
}

func attr(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// unescapeCLIXML replaces _xHHHH_ by the UTF-16 code units it stands for.
func unescapeCLIXML(s string) string {
	escaped := regexp.MustCompile(`(?:_x[0-9A-Fa-f]{4}_)+`)
	return escaped.ReplaceAllStringFunc(s, func(run string) string {
		var units []uint16
		for ; len(run) >= 7; run = run[7:] {
			u, err := strconv.ParseUint(run[2:6], 16, 16)
			if err != nil {
				return run
			}
			units = append(units, uint16(u))
		}
		return string(utf16.Decode(units))
	})
}
