package metrics

import "github.com/prometheus/client_golang/prometheus"

// configuration reads a State's configuration into metrics.
type configuration struct{ state State }

func loadedDesc() *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", "config_last_reload_success_timestamp_seconds"),
		"When the configuration that is followed was read.", nil, nil)
}

func successfulDesc() *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", "config_last_reload_successful"),
		"Whether the configuration could be read when it was last looked at: 1, or 0 where an older one is followed.", nil, nil)
}

// Describe implements prometheus.Collector.
func (c configuration) Describe(to chan<- *prometheus.Desc) {
	to <- loadedDesc()
	to <- successfulDesc()
}

// Collect implements prometheus.Collector.
func (c configuration) Collect(to chan<- prometheus.Metric) {
	config := c.state.Config()
	if config.Loaded.IsZero() {
		return
	}
	successful := 1.0
	if config.Rejected {
		successful = 0
	}
	to <- prometheus.MustNewConstMetric(loadedDesc(), prometheus.GaugeValue, seconds(config.Loaded))
	to <- prometheus.MustNewConstMetric(successfulDesc(), prometheus.GaugeValue, successful)
}
