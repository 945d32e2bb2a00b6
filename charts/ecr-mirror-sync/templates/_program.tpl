{{/* The arguments that every command understands which looks at the mirrors. */}}
{{- define "ecr-mirror-sync.commonArgs" -}}
{{- with .Values.ecrMirrorSync -}}
- --log-format={{ .logFormat }}
{{- if .debug }}
- --debug
{{- end }}
{{- with .logLevel }}
- --log-level={{ . }}
{{- end }}
{{- if or .config .configFrom.configMap .configFrom.secret }}
- --config=/etc/ecr-mirror-sync/config/mirrors.yaml
{{- end }}
{{- range .regions }}
- {{ printf "--region=%s" . | quote }}
{{- end }}
{{- with .prefix }}
- {{ printf "--prefix=%s" . | quote }}
{{- end }}
{{- with .batch }}
- {{ printf "--batch=%v" . | quote }}
{{- end }}
{{- range .allowUpstream }}
- {{ printf "--allow-upstream=%s" . | quote }}
{{- end }}
{{- if or .sourceCreds .authSecret.name }}
- --src-authfile=/etc/ecr-mirror-sync/auth/auth.json
{{- else if .sourceCredsFor }}
- {{ printf "--src-creds-for=%s" .sourceCredsFor | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- define "ecr-mirror-sync.args" -}}
- {{ ternary "daemon" "sync" (eq .Values.mode "deployment") }}
{{- with .Values.ecrMirrorSync }}
{{- if or .policy .policyFrom.configMap }}
- --policy=/etc/ecr-mirror-sync/policy/policy.json
{{- else }}
- --insecure-policy
{{- end }}
{{- end }}
{{ include "ecr-mirror-sync.commonArgs" . }}
{{- if .Values.ecrMirrorSync.renderTable }}
- --render-table
{{- end }}
- --spool-dir=/var/cache/ecr-mirror-sync
- --spool-limit={{ .Values.spool.limit }}
{{- if .Values.state.location }}
- {{ printf "--state=%s" .Values.state.location | quote }}
{{- else if .Values.state.volume }}
- --state=/var/lib/ecr-mirror-sync/state.json
{{- end }}
{{- with .Values.notify }}
{{- range $i, $to := .receivers }}
- {{ printf "--notify=%s=file:/etc/ecr-mirror-sync/notify-%d/url" $to.kind $i | quote }}
{{- end }}
{{- if .signing.secret }}
- --notify-secret=file:/etc/ecr-mirror-sync/notify-signing/secret
{{- end }}
{{- if ne .every "24h" }}
- --notify-every={{ .every }}
{{- end }}
{{- if .state }}
- {{ printf "--notify-state=%s" .state | quote }}
{{- else if $.Values.state.volume }}
- --notify-state=/var/lib/ecr-mirror-sync/notified.json
{{- end }}
{{- end }}
{{- with .Values.metrics.pushgateway }}
- {{ printf "--metrics-pushgateway=%s" . | quote }}
{{- end }}
{{- if .Values.metrics.emf }}
- --metrics-emf
{{- end }}
{{- if eq .Values.mode "deployment" }}
- --listen=:8080
{{- with .Values.daemon }}
- --interval={{ .interval }}
{{- with .jitter }}
- --jitter={{ . }}
{{- end }}
{{- with .maxFailedRuns }}
- --max-failed-runs={{ . }}
{{- end }}
- --grace={{ .grace }}
{{- if .pprof }}
- --pprof
{{- end }}
{{- end }}
{{- else if include "ecr-mirror-sync.indexed" . }}
- --shards={{ .Values.shards }}
{{- end }}
{{- range .Values.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end }}

{{- define "ecr-mirror-sync.env" -}}
{{- with .Values.aws.region }}
- name: AWS_REGION
  value: {{ . }}
{{- end }}
{{- if or .Values.caBundle.pem .Values.caBundle.configMap }}
- name: SSL_CERT_FILE
  value: /etc/ecr-mirror-sync/ca/ca.crt
{{- end }}
{{- with .Values.ecrMirrorSync.sourceCredsSecret }}
{{- if .name }}
- name: ECR_MIRROR_SYNC_SRC_CREDS
  valueFrom:
    secretKeyRef:
      name: {{ .name }}
      key: {{ .key }}
{{- end }}
{{- end }}
{{- with .Values.tracing }}
{{- if .endpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ .endpoint | quote }}
{{- end }}
{{- if .headersSecret.name }}
- name: OTEL_EXPORTER_OTLP_HEADERS
  valueFrom:
    secretKeyRef:
      name: {{ .headersSecret.name }}
      key: {{ .headersSecret.key }}
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* A volume that holds one key of a ConfigMap or Secret as one file. Called with a dict:
name, file, key, and one of configMap and secret. */}}
{{- define "ecr-mirror-sync.fileVolume" -}}
- name: {{ .name }}
  {{- if .secret }}
  secret:
    secretName: {{ .secret }}
    defaultMode: 0440
  {{- else }}
  configMap:
    name: {{ .configMap }}
  {{- end }}
    items:
      - key: {{ .key }}
        path: {{ .file }}
{{- end }}

{{- define "ecr-mirror-sync.volumes" -}}
{{- $fullname := include "ecr-mirror-sync.fullname" . -}}
{{- $emptyDir := dict "emptyDir" dict -}}
- name: tmp
  {{- toYaml (.Values.tmp.volume | default $emptyDir) | nindent 2 }}
- name: spool
  {{- toYaml (.Values.spool.volume | default $emptyDir) | nindent 2 }}
{{- with .Values.state.volume }}
- name: state
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.ecrMirrorSync }}
{{- if .config }}
{{ include "ecr-mirror-sync.fileVolume" (dict "name" "config" "file" "mirrors.yaml" "key" "mirrors.yaml" "configMap" $fullname) }}
{{- else if or .configFrom.configMap .configFrom.secret }}
{{ include "ecr-mirror-sync.fileVolume" (merge (dict "name" "config" "file" "mirrors.yaml") .configFrom) }}
{{- end }}
{{- if .policy }}
{{ include "ecr-mirror-sync.fileVolume" (dict "name" "policy" "file" "policy.json" "key" "policy.json" "configMap" $fullname) }}
{{- else if .policyFrom.configMap }}
{{ include "ecr-mirror-sync.fileVolume" (merge (dict "name" "policy" "file" "policy.json") .policyFrom) }}
{{- end }}
{{- if .sourceCreds }}
{{ include "ecr-mirror-sync.fileVolume" (dict "name" "auth" "file" "auth.json" "key" "auth.json" "secret" $fullname) }}
{{- else if .authSecret.name }}
{{ include "ecr-mirror-sync.fileVolume" (dict "name" "auth" "file" "auth.json" "key" .authSecret.key "secret" .authSecret.name) }}
{{- end }}
{{- if .registriesD }}
- name: registries-d
  configMap:
    name: {{ $fullname }}-registries-d
{{- end }}
{{- end }}
{{- if .Values.notify }}
{{- range $i, $to := .Values.notify.receivers }}
{{ include "ecr-mirror-sync.fileVolume" (dict "name" (printf "notify-%d" $i) "file" "url" "key" $to.key "secret" $to.secret) }}
{{- end }}
{{- with .Values.notify.signing }}
{{- if .secret }}
{{ include "ecr-mirror-sync.fileVolume" (dict "name" "notify-signing" "file" "secret" "key" .key "secret" .secret) }}
{{- end }}
{{- end }}
{{- end }}
{{- if .Values.caBundle.pem }}
{{ include "ecr-mirror-sync.fileVolume" (dict "name" "ca" "file" "ca.crt" "key" "ca.crt" "configMap" $fullname) }}
{{- else if .Values.caBundle.configMap }}
{{ include "ecr-mirror-sync.fileVolume" (dict "name" "ca" "file" "ca.crt" "key" .Values.caBundle.key "configMap" .Values.caBundle.configMap) }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "ecr-mirror-sync.volumeMounts" -}}
- name: tmp
  mountPath: /tmp
- name: spool
  mountPath: /var/cache/ecr-mirror-sync
{{- if .Values.state.volume }}
- name: state
  mountPath: /var/lib/ecr-mirror-sync
{{- end }}
{{- with .Values.ecrMirrorSync }}
{{- /* A directory and not a file: only directories follow when a ConfigMap changes. */}}
{{- if or .config .configFrom.configMap .configFrom.secret }}
- name: config
  mountPath: /etc/ecr-mirror-sync/config
  readOnly: true
{{- end }}
{{- if or .policy .policyFrom.configMap }}
- name: policy
  mountPath: /etc/ecr-mirror-sync/policy
  readOnly: true
{{- end }}
{{- if or .sourceCreds .authSecret.name }}
- name: auth
  mountPath: /etc/ecr-mirror-sync/auth
  readOnly: true
{{- end }}
{{- /* File by file, so that the image's own file stays. */}}
{{- range $file, $_ := .registriesD }}
- name: registries-d
  mountPath: /etc/containers/registries.d/{{ $file }}
  subPath: {{ $file }}
  readOnly: true
{{- end }}
{{- end }}
{{- if .Values.notify }}
{{- range $i, $_ := .Values.notify.receivers }}
- name: notify-{{ $i }}
  mountPath: /etc/ecr-mirror-sync/notify-{{ $i }}
  readOnly: true
{{- end }}
{{- if .Values.notify.signing.secret }}
- name: notify-signing
  mountPath: /etc/ecr-mirror-sync/notify-signing
  readOnly: true
{{- end }}
{{- end }}
{{- if or .Values.caBundle.pem .Values.caBundle.configMap }}
- name: ca
  mountPath: /etc/ecr-mirror-sync/ca
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Changes with what the program reads once. The daemon follows its configuration file,
and need not start again for it. */}}
{{- define "ecr-mirror-sync.checksum" -}}
{{- $own := .Values.ecrMirrorSync -}}
{{- $read := list $own.policy $own.registriesD $own.sourceCreds $own.sourceCredsFor .Values.caBundle.pem -}}
{{- if ne .Values.mode "deployment" -}}
{{- $read = append $read $own.config -}}
{{- end -}}
{{- toJson $read | sha256sum -}}
{{- end }}
