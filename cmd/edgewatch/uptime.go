package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"edgewatch/watchdog"
)

// printUptime prints how much of the last day, month and quarter the pools
// answered, once that is known.
func (t *tool) printUptime(s *watchdog.Snapshot) {
	tab := table{style: t.style, indent: "  "}
	young := !slices.ContainsFunc(s.Pools, func(p watchdog.PoolStatus) bool { return !alike(p.Uptime) })
	for _, p := range s.Pools {
		if len(p.Uptime) == 0 {
			continue
		}
		windows := p.Uptime
		if young {
			windows = windows[:1]
		}
		if len(tab.rows) == 0 {
			heads := []string{"UPTIME OF"}
			for _, u := range windows {
				head := "LAST " + strings.ToUpper(long(u.Window))
				if young {
					head = "SINCE EDGEWATCH WATCHES"
				}
				heads = append(heads, head)
			}
			tab.header(heads...)
		}
		cells := []cell{{p.Name, plain}}
		for _, u := range windows {
			cells = append(cells, uptimeCell(u))
		}
		tab.row(cells...)
	}
	if len(tab.rows) > 1 {
		fmt.Fprintln(t.out)
		tab.print(t.out)
	}
}

// alike reports whether all windows hold the same: edgewatch watches no longer
// than the shortest.
func alike(windows []watchdog.Uptime) bool {
	return !slices.ContainsFunc(windows, func(u watchdog.Uptime) bool {
		u.Window = windows[0].Window
		return u != windows[0]
	})
}

// long is a span, in whole hours or days where it is long.
func long(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < 2*time.Hour:
		return span(d)
	case d < 2*day:
		return plural(int(d.Round(time.Hour)/time.Hour), "hour")
	}
	return plural(int(d.Round(day)/day), "day")
}

// uptimeCell is the share of the time that says something; what says nothing
// stands beside it, since it is neither up nor down.
func uptimeCell(u watchdog.Uptime) cell {
	share, known := u.Share()
	if !known {
		return cell{"–", faint}
	}
	how := plain
	text := fmt.Sprintf("%.2f %%", math.Floor(share*1e4)/1e2) // 100 is without any trouble
	if u.Down > 0 {
		how = warning
		text += ", " + span(u.Down) + " down"
	}
	if u.Inconclusive >= time.Minute {
		text += ", " + span(u.Inconclusive) + " unclear"
	}
	if w := u.Watched(); w < u.Window*9/10 {
		text += ", " + long(w) + " watched"
	}
	return cell{text, how}
}
