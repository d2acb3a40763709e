{{/* What pods mount. Secrets are readable by the pod's own user alone. */}}

{{- define "ledgerx.tmpFiles" -}}
- name: tmp
  mountPath: /tmp
  volume:
    name: tmp
    emptyDir: {sizeLimit: 256Mi}
{{- end -}}

{{/* Keys of a Secret as files, all of them without `keys`. Takes (list name mountPath secret keys…). */}}
{{- define "ledgerx.secretFiles" -}}
- name: {{ index . 0 }}
  mountPath: {{ index . 1 }}
  readOnly: true
  volume:
    name: {{ index . 0 }}
    secret:
      secretName: {{ index . 2 }}
      defaultMode: 0440
      {{- with slice . 3 }}
      items:
        {{- range . }}
        - {key: {{ . }}, path: {{ . }}}
        {{- end }}
      {{- end }}
{{- end -}}

{{/* The URLs of the databases for a role. Takes (list role mountPath). */}}
{{- define "ledgerx.databaseFiles" -}}
{{- include "ledgerx.secretFiles" (list (printf "databases-%s" (index . 0)) (index . 1) (printf "ledgerx-databases-%s" (index . 0))) -}}
{{- end -}}

{{/* The platform's keys: those that are named, and with webhooks those that seal their secrets. Takes (list $ keys…). */}}
{{- define "ledgerx.keyFiles" -}}
{{- $keys := slice . 1 -}}
{{- if (index . 0).Values.webhooks.enabled -}}
{{- $keys = append $keys "sealing.json" -}}
{{- end -}}
{{- include "ledgerx.secretFiles" (concat (list "keys" "/run/ledgerx/keys" "ledgerx-keys") $keys) -}}
{{- end -}}

{{- define "ledgerx.kafkaFiles" -}}
{{- with include "ledgerx.kafkaSources" . | trim -}}
- name: kafka
  mountPath: /run/ledgerx/kafka
  readOnly: true
  volume:
    name: kafka
    projected:
      defaultMode: 0440
      sources:
        {{- . | nindent 8 }}
{{- end -}}
{{- end -}}

{{- define "ledgerx.kafkaSources" -}}
{{- $kafka := include "ledgerx.kafka" . | fromYaml -}}
{{- with $kafka.tls.caSecret }}
{{- if .name }}
- secret:
    name: {{ .name }}
    items:
      - {key: {{ .key }}, path: ca.crt}
{{- end }}
{{- end }}
{{- with $kafka.tls.clientSecret }}
{{- if .name }}
- secret:
    name: {{ .name }}
    items:
      - {key: {{ .certKey }}, path: tls.crt}
      - {key: {{ .keyKey }}, path: tls.key}
      {{- with .passwordKey }}
      - {key: {{ . }}, path: tls.password}
      {{- end }}
{{- end }}
{{- end }}
{{- if hasPrefix "SASL" $kafka.securityProtocol }}
- secret:
    name: {{ $kafka.sasl.passwordSecret.name }}
    items:
      - {key: {{ $kafka.sasl.passwordSecret.key }}, path: password}
{{- end }}
{{- end -}}

{{- define "ledgerx.exportFiles" -}}
{{- if and .Values.exports.enabled .Values.exports.existingClaim -}}
- name: exports
  mountPath: /var/lib/ledgerx/exports
  volume:
    name: exports
    persistentVolumeClaim: {claimName: {{ .Values.exports.existingClaim }}}
{{- end -}}
{{- end -}}

{{- define "ledgerx.valkeyFiles" -}}
{{- with .Values.valkey.urlSecret -}}
{{- if .name -}}
- name: valkey
  mountPath: /run/ledgerx/valkey
  readOnly: true
  volume:
    name: valkey
    secret:
      secretName: {{ .name }}
      defaultMode: 0440
      items:
        - {key: {{ .key }}, path: url}
{{- end -}}
{{- end -}}
{{- end -}}
