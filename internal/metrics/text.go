package metrics

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/prometheus/common/expfmt"
)

// WriteText writes the metrics in Prometheus's text format.
func (m *Metrics) WriteText(to io.Writer) error {
	families, err := m.registry.Gather()
	if err != nil {
		return err
	}
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(to, family); err != nil {
			return err
		}
	}
	return nil
}

// WriteTextfile replaces the file at path, for the textfile collector of the node
// exporter: whoever reads it meanwhile finds the old or the new one whole. Everybody may
// read it, since the exporter is somebody else.
func (m *Metrics) WriteTextfile(path string) (err error) {
	var text bytes.Buffer
	if err := m.WriteText(&text); err != nil {
		return err
	}
	// The exporter reads *.prom alone.
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return fmt.Errorf("write metrics: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name())
		}
	}()
	_, err = file.Write(text.Bytes())
	if chmodErr := file.Chmod(0o644); err == nil {
		err = chmodErr
	}
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write metrics: %w", err)
	}
	return nil
}

// EarlierText returns how mirrors stood when the file at path was written, nothing where
// there is none.
func EarlierText(path string) ([]Mirror, error) {
	file, err := os.Open(path)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read earlier metrics: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("read earlier metrics: %w", err)
	}
	mirrors, err := readMirrors(io.LimitReader(file, maxEarlier), nil, info.ModTime())
	if err != nil {
		return nil, fmt.Errorf("read earlier metrics from %s: %w", path, err)
	}
	return mirrors, nil
}
