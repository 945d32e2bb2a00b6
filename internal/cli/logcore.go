package cli

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"go.uber.org/zap/zapcore"
)

// levels is a core that drops what is below the level of the mirror that a line is of.
// Lines that say no mirror have the level of all.
type levels struct {
	zapcore.Core
	all     zapcore.Level
	mirrors map[string]zapcore.Level
	least   zapcore.Level // that any line may have
	mine    zapcore.Level // of lines that say nothing themselves
}

// withLevels bounds what core writes.
func withLevels(core zapcore.Core, all zapcore.Level, mirrors map[string]zapcore.Level) zapcore.Core {
	l := levels{Core: core, all: all, mirrors: mirrors, least: all, mine: all}
	for _, level := range mirrors {
		l.least = min(l.least, level)
	}
	return l
}

// Enabled implements zapcore.LevelEnabler: a line's fields are not known yet.
func (l levels) Enabled(level zapcore.Level) bool { return level >= l.least }

// With implements zapcore.Core.
func (l levels) With(fields []zapcore.Field) zapcore.Core {
	l.mine = l.of(fields)
	l.Core = l.Core.With(fields)
	return l
}

// Check implements zapcore.Core.
func (l levels) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if l.Enabled(e.Level) {
		return checked.AddCore(e, l)
	}
	return checked
}

// Write implements zapcore.Core.
func (l levels) Write(e zapcore.Entry, fields []zapcore.Field) error {
	if e.Level < l.of(fields) {
		return nil
	}
	return l.Core.Write(e, fields)
}

// of is the level of a line with such fields.
func (l levels) of(fields []zapcore.Field) zapcore.Level {
	for _, f := range fields {
		if f.Key != "mirror" || f.Type != zapcore.StringType {
			continue
		}
		if level, ok := l.mirrors[f.String]; ok {
			return level
		}
		return l.all
	}
	return l.mine
}

// escaping writes log lines in which nothing but the line's own end controls a terminal.
// Messages quote what registries say.
type escaping struct {
	zapcore.WriteSyncer
	color bool
}

// Write is given one whole line.
func (e escaping) Write(line []byte) (int, error) {
	clean := escape(line)
	if e.color {
		clean = paint(clean)
	}
	if _, err := e.WriteSyncer.Write(clean); err != nil {
		return 0, err
	}
	return len(line), nil
}

// escape writes what is not printable as \u001b, as JSON does. It returns line itself
// where there is nothing to do.
func escape(line []byte) []byte {
	body, end := bytes.CutSuffix(line, []byte("\n"))
	if !bytes.ContainsFunc(body, unprintable) {
		return line
	}
	var b bytes.Buffer
	for len(body) > 0 {
		r, size := utf8.DecodeRune(body)
		switch {
		case !unprintable(r):
			b.Write(body[:size])
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, body[0])
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		body = body[size:]
	}
	if end {
		b.WriteByte('\n')
	}
	return b.Bytes()
}

func unprintable(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }

// paint colours the level of a line.
func paint(line []byte) []byte {
	// The first column is the time, or the level where there is none.
	for level, color := range map[zapcore.Level]string{zapcore.DebugLevel: "35", zapcore.InfoLevel: "34", zapcore.WarnLevel: "33", zapcore.ErrorLevel: "31"} {
		word := "  " + level.CapitalString() + "  "
		before, after, found := strings.Cut(string(line), word)
		if found && !strings.Contains(before, "  ") {
			return []byte(before + "  \x1b[" + color + "m" + level.CapitalString() + "\x1b[0m  " + after)
		}
	}
	return line
}
