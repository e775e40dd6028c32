package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
)

// outputFlag adds --output to cmd.
func outputFlag(cmd *cobra.Command) *string {
	return cmd.Flags().StringP("output", "o", "text", "`FORM` of the output: text or json, which is stable")
}

// wantsJSON reads what outputFlag was given.
func wantsJSON(form string) (bool, error) {
	switch form {
	case "json":
		return true, nil
	case "text":
		return false, nil
	}
	return false, usage(fmt.Errorf("there is no output form %q: known are text and json", form))
}

// federationFlag adds --federation to cmd.
func federationFlag(cmd *cobra.Command) *string {
	return cmd.Flags().StringP("federation", "f", "", "`NAME` of the federation, when there are several")
}

func (t *tool) printJSON(v any) error {
	enc := json.NewEncoder(t.out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
