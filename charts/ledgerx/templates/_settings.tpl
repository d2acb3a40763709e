{{/* Environment variables, as docs/configuration.md has them. */}}

{{/* One variable; numbers as they are written, not as Go shows them. Takes (list NAME value). */}}
{{- define "ledgerx.variable" -}}
{{- $value := index . 1 -}}
- name: {{ index . 0 }}
  value: {{ kindIs "string" $value | ternary $value (toJson $value) | quote }}
{{- end -}}

{{/* Several, without those that are empty. Takes a list of NAME and value in turn. */}}
{{- define "ledgerx.variables" -}}
{{- $list := . -}}
{{- range $index, $value := . }}
{{- if and (mod $index 2) (ne (toString $value) "") }}
{{ include "ledgerx.variable" (list (index $list (sub $index 1 | int)) $value) }}
{{- end }}
{{- end }}
{{- end -}}

{{/* What every part reads, and its `settings`: those of all three in the demo. Takes (list $ part). */}}
{{- define "ledgerx.partEnv" -}}
{{- $values := (index . 0).Values -}}
{{- include "ledgerx.variables" (list
  "LEDGERX_LOG_LEVEL" $values.logLevel
  "LEDGERX_MANAGEMENT_HOST" "0.0.0.0"
  "LEDGERX_MANAGEMENT_PORT" "9090"
  "OTEL_EXPORTER_OTLP_ENDPOINT" $values.tracing.endpoint) }}
{{- $settings := (index $values (index . 1)).settings }}
{{- if eq (index . 1) "demo" }}
{{- $settings = merge dict $values.api.settings $values.relay.settings $values.streams.settings }}
{{- end }}
{{- range $name, $value := $settings }}
{{ include "ledgerx.variable" (list (printf "LEDGERX_%s" ($name | snakecase | upper)) $value) }}
{{- end }}
{{- end -}}

{{/* What only the API reads, in the demo as well. */}}
{{- define "ledgerx.apiEnv" -}}
{{- include "ledgerx.variables" (list
  "LEDGERX_HOST" "0.0.0.0"
  "LEDGERX_KEYS" "/run/ledgerx/keys/signing.json"
  "LEDGERX_OIDC_ISSUERS" (join "," .Values.oidc.issuers)
  "LEDGERX_OIDC_NETWORKS" (join "," .Values.oidc.networks)
  "LEDGERX_EXPORTS_TENANT_BYTES" .Values.exports.tenantBytes
  "LEDGERX_RATE_LIMIT_URL_FILE" (ternary "/run/ledgerx/valkey/url" "" (ne .Values.valkey.urlSecret.name ""))) }}
{{- end -}}

{{/* The keys of webhooks, and where these may be. */}}
{{- define "ledgerx.webhooksEnv" -}}
{{- if .Values.webhooks.enabled }}
{{- include "ledgerx.variables" (list
  "LEDGERX_SEALING_KEYS" "/run/ledgerx/keys/sealing.json"
  "LEDGERX_WEBHOOKS_ALLOW_PRIVATE" .Values.webhooks.allowPrivate) }}
{{- end }}
{{- end -}}

{{/* More storages, as name=URL. */}}
{{- define "ledgerx.destinations" -}}
{{- $listed := list -}}
{{- range $name, $url := .Values.exports.destinations -}}
{{- $listed = append $listed (printf "%s=%s" $name $url) -}}
{{- end -}}
{{- join "," $listed -}}
{{- end -}}

{{/* Where the files of exports go. */}}
{{- define "ledgerx.exportsEnv" -}}
{{- with .Values.exports }}
{{- if and .enabled .existingClaim }}
{{- include "ledgerx.variable" (list "LEDGERX_EXPORTS_URL" "file:///var/lib/ledgerx/exports") }}
{{- else if .enabled }}
{{- include "ledgerx.variables" (list
  "LEDGERX_EXPORTS_URL" (printf "s3://%s" (list .s3.bucket .s3.prefix | compact | join "/"))
  "AWS_REGION" .s3.region
  "AWS_ENDPOINT_URL" .s3.endpoint
  "AWS_ALLOW_HTTP" (ternary "true" "" .s3.allowHttp)) }}
{{- if .s3.credentialsSecret }}
{{- range $key := list "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY" }}
- name: {{ $key }}
  valueFrom:
    secretKeyRef: {name: {{ $.Values.exports.s3.credentialsSecret }}, key: {{ $key }}}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* `kafka` as it is in effect, as YAML: of Strimzi's cluster where that is made. */}}
{{- define "ledgerx.kafka" -}}
{{- if .Values.strimzi.enabled -}}
{{- $cluster := printf "%s-kafka" (include "ledgerx.fullname" .) -}}
bootstrapServers: {{ $cluster }}-kafka-bootstrap.{{ .Release.Namespace }}.svc:9093
securityProtocol: SASL_SSL
tls:
  caSecret: {name: {{ $cluster }}-cluster-ca-cert, key: ca.crt}
  clientSecret: {name: "", passwordKey: ""}
sasl:
  mechanism: SCRAM-SHA-512
  username: {{ include "ledgerx.fullname" . }}
  passwordSecret: {name: {{ include "ledgerx.fullname" . }}, key: password}
{{- else -}}
{{- toYaml .Values.kafka -}}
{{- end -}}
{{- end -}}

{{/* How Kafka is reached. */}}
{{- define "ledgerx.kafkaEnv" -}}
{{- $kafka := include "ledgerx.kafka" . | fromYaml -}}
{{- $client := $kafka.tls.clientSecret -}}
{{- include "ledgerx.variables" (list
  "LEDGERX_KAFKA" $kafka.bootstrapServers
  "LEDGERX_KAFKA_SECURITY_PROTOCOL" $kafka.securityProtocol
  "LEDGERX_KAFKA_CA_FILE" (ternary "/run/ledgerx/kafka/ca.crt" "" (ne $kafka.tls.caSecret.name ""))
  "LEDGERX_KAFKA_CERT_FILE" (ternary "/run/ledgerx/kafka/tls.crt" "" (ne $client.name ""))
  "LEDGERX_KAFKA_KEY_FILE" (ternary "/run/ledgerx/kafka/tls.key" "" (ne $client.name ""))
  "LEDGERX_KAFKA_KEY_PASSWORD_FILE" (ternary "/run/ledgerx/kafka/tls.password" "" (and (ne $client.name "") (ne $client.passwordKey "")))) }}
{{- if hasPrefix "SASL" $kafka.securityProtocol }}
{{- include "ledgerx.variables" (list
  "LEDGERX_KAFKA_SASL_MECHANISM" $kafka.sasl.mechanism
  "LEDGERX_KAFKA_USERNAME" $kafka.sasl.username
  "LEDGERX_KAFKA_PASSWORD_FILE" "/run/ledgerx/kafka/password") }}
{{- end }}
{{- end -}}
