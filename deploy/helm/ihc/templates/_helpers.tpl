{{- define "ihc.labels" -}}
app.kubernetes.io/name: ihc
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- /* What a pod is found by: (dict "root" $ "part" name). */ -}}
{{- define "ihc.selector" -}}
app.kubernetes.io/name: ihc
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end }}

{{- define "ihc.claim" -}}
{{ .Values.database.existingClaim | default (printf "%s-database" .Release.Name) }}
{{- end }}

{{- /* What a pod is like, but for its containers and volumes. */ -}}
{{- define "ihc.pod" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: { type: RuntimeDefault }
# Longer than grace, and what it takes to close.
terminationGracePeriodSeconds: 60
{{- with .Values.nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* The part of a container that all have: (dict "root" $ "part" stage
"image" name "port" number "resources" map). */ -}}
{{- define "ihc.container" -}}
{{- $v := .root.Values -}}
name: {{ .part }}
image: {{ printf "%s/%s:%s" $v.image.repository .image ($v.image.tag | default .root.Chart.AppVersion) | quote }}
imagePullPolicy: {{ $v.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
resources: {{ toYaml .resources | nindent 2 }}
ports:
  - { name: {{ .part }}, containerPort: {{ .port }} }
startupProbe:
  httpGet: { path: /healthz, port: {{ .part }} }
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  httpGet: { path: /healthz, port: {{ .part }} }
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: { path: /readyz, port: {{ .part }} }
  periodSeconds: 10
  timeoutSeconds: 6
{{- end }}

{{- /* Environment that all have: (dict "root" $ "part" stage "port" number). */ -}}
{{- define "ihc.environment" -}}
{{- $v := .root.Values -}}
- { name: NATS_URL, value: {{ $v.nats.url | quote }} }
{{- if $v.nats.passwordsSecret }}
- { name: NATS_USER, value: {{ .part }} }
- { name: NATS_PASSWORD_FILE, value: /credentials/{{ .part }}/password }
{{- end }}
{{- if $v.nats.tlsSecret }}
- { name: NATS_CA, value: /tls/ca.crt }
{{- if $v.nats.tlsMutual }}
- { name: NATS_CERT, value: /tls/tls.crt }
- { name: NATS_KEY, value: /tls/tls.key }
{{- end }}
{{- end }}
- { name: IHC_HTTP, value: ":{{ .port }}" }
- { name: IHC_LOG_LEVEL, value: {{ $v.logLevel | quote }} }
- { name: IHC_GRACE, value: {{ $v.grace | quote }} }
{{- end }}

{{- /* Where that environment is found: (dict "root" $ "part" stage). */ -}}
{{- define "ihc.mounts" -}}
- { name: tmp, mountPath: /tmp }
{{- if .root.Values.nats.passwordsSecret }}
- { name: {{ .part }}-password, mountPath: /credentials/{{ .part }}, readOnly: true }
{{- end }}
{{- if .root.Values.nats.tlsSecret }}
- { name: tls, mountPath: /tls, readOnly: true }
{{- end }}
{{- end }}

{{- /* The volumes of a pod: (dict "root" $ "parts" list of stages). */ -}}
{{- define "ihc.volumes" -}}
- name: tmp
  emptyDir: { medium: Memory, sizeLimit: 16Mi }
{{- with .root.Values.nats.passwordsSecret }}
{{- range $.parts }}
- name: {{ . }}-password
  secret:
    secretName: {{ $.root.Values.nats.passwordsSecret }}
    defaultMode: 0440
    items: [{ key: {{ . }}, path: password }]
{{- end }}
{{- end }}
{{- with .root.Values.nats.tlsSecret }}
- name: tls
  secret: { secretName: {{ . }}, defaultMode: 0440 }
{{- end }}
{{- end }}

{{- /* What those who open the database have beside the environment of all:
(dict "root" $ "part" stage). */ -}}
{{- define "ihc.databaseEnvironment" -}}
{{- $v := .root.Values -}}
{{- if $v.postgres.url }}
- { name: IHC_DB, value: {{ $v.postgres.url | quote }} }
{{- if $v.postgres.passfileSecret }}
- { name: PGPASSFILE, value: /postgres/pgpass }
{{- end }}
{{- if $v.postgres.tlsSecret }}
- { name: PGSSLMODE, value: verify-full }
- { name: PGSSLROOTCERT, value: /postgres-tls/ca.crt }
{{- if $v.postgres.tlsMutual }}
- { name: PGSSLCERT, value: /postgres-tls/tls.crt }
- { name: PGSSLKEY, value: /postgres-tls/tls.key }
{{- end }}
{{- end }}
{{- else }}
- { name: IHC_DB, value: /data/{{ $v.database.fileName }} }
- { name: SQLITE_TMPDIR, value: /data }
{{- end }}
{{- if eq .part "reporter" }}
- { name: IHC_OUT, value: /data }
{{- end }}
{{- if eq .part "console" }}
- { name: IHC_CONSOLE, value: ":8087" }
- { name: IHC_CONSOLE_TOKEN_FILE, value: /token/token }
- { name: IHC_CONSOLE_READ_ONLY, value: {{ $v.console.readOnly | quote }} }
- { name: IHC_CURRENCY, value: {{ $v.console.currency | quote }} }
{{- end }}
{{- end }}

{{- /* Where that is found: (dict "root" $ "part" stage). */ -}}
{{- define "ihc.databaseMounts" -}}
{{- $v := .root.Values -}}
{{- if or (not $v.postgres.url) (eq .part "reporter") }}
- { name: data, mountPath: /data }
{{- end }}
{{- if and $v.postgres.url $v.postgres.passfileSecret }}
- { name: passfile, mountPath: /postgres, readOnly: true }
{{- end }}
{{- if and $v.postgres.url $v.postgres.tlsSecret }}
- { name: postgres-tls, mountPath: /postgres-tls, readOnly: true }
{{- end }}
{{- if eq .part "console" }}
- { name: token, mountPath: /token, readOnly: true }
{{- end }}
{{- end }}

{{- define "ihc.token" -}}
- name: token
  secret:
    secretName: {{ required "console.tokenSecret: name the secret with the console's token, or set console.enabled to false" .Values.console.tokenSecret }}
    defaultMode: 0440
{{- end }}

{{- /* The pods that open the database, by component. */ -}}
{{- define "ihc.openers" -}}
{{- if .Values.postgres.url -}}
extractor writer reporter{{ if .Values.console.enabled }} console{{ end }}
{{- else -}}
database
{{- end -}}
{{- end }}
