package output

import (
	"io"
	"sync"
	"time"
)

// Intervals at which progress is shown at most.
const (
	redrawEvery = 50 * time.Millisecond
	printEvery  = time.Second
)

// Progress shows where something is: on a terminal one line, drawn again and
// again; elsewhere a plain line now and then. It is safe for many goroutines.
type Progress struct {
	mu    sync.Mutex
	w     io.Writer
	live  bool
	width func() int
	now   func() time.Time
	last  time.Time
	shown string
}

// NewProgress makes one. On a terminal (live) width tells its columns.
func NewProgress(w io.Writer, live bool, width func() int, now func() time.Time) *Progress {
	return &Progress{w: w, live: live, width: width, now: now, last: now()}
}

// Update shows a text, unless the last was shown, or the work begun, a moment
// ago: what is over at once needs no progress.
func (p *Progress) Update(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	every := printEvery
	if p.live {
		every = redrawEvery
	}
	now := p.now()
	if text == p.shown || now.Sub(p.last) < every {
		return
	}
	p.last, p.shown = now, text
	text = Clean(text)
	if !p.live {
		_, _ = io.WriteString(p.w, text+"\n")
		return
	}
	if r, n := []rune(text), p.width()-1; n > 1 && len(r) > n {
		text = string(r[:n-1]) + "…"
	}
	_, _ = io.WriteString(p.w, "\r\x1b[K"+text)
}

// Clear takes the live line away, so that something else can be printed.
func (p *Progress) Clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.live && p.shown != "" {
		_, _ = io.WriteString(p.w, "\r\x1b[K")
		p.shown = ""
	}
}
