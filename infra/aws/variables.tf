variable "name" {
  description = "Prefix of every name: function, role, queues, alarms and so on. Two modules in one account and region need two names."
  type        = string
  default     = "dagbucket"

  validation {
    # The state bucket's name is the longest: NAME-state-ACCOUNT-REGION, of which S3 takes 63 characters.
    condition     = can(regex("^[a-z]([a-z0-9-]{0,27}[a-z0-9])?$", var.name))
    error_message = "name = \"${var.name}\": use 1 to 29 lower-case letters, digits and dashes, beginning with a letter and not ending in a dash."
  }

  validation {
    condition     = !can(regex("^(xn--|sthree-|amzn-s3-demo-)", var.name))
    error_message = "name = \"${var.name}\" begins as S3 allows no bucket to begin (xn--, sthree-, amzn-s3-demo-): choose another name."
  }
}

# The keys are those of the configuration file, and mean the same; a key that is left out is left out there, so that the defaults of the code hold:
#   name, sources [{url, mount, syntax}], deployment                  required (mount and syntax are not)
#   organization, token, quiet_period, max_wait, syntax, guard {allow_empty, max_removed_percent, max_removed_files},
#   limits {max_files, max_bytes}, replace_existing, on_drift, base_dir, keep_bundles, status, import_errors, notify
# A target of notify is a text (sns:ARN, webhook:https://…, webhook:REFERENCE, slack:REFERENCE), or jsonencode({to, secret, format, events}) where there
# is more to say: the list has one type. A reference is aws-sm:ARN or aws-ssm:NAME, as for token.
# Names, source URLs, status and Deployment IDs must be known when planning; a token or a topic may be known after apply only (then see
# create_token_secret).
variable "routes" {
  description = "What is deployed where: one object for each Astro Deployment, with the keys of the configuration file."
  type = list(object({
    name = string
    sources = list(object({
      url    = string
      mount  = optional(string)
      syntax = optional(string)
    }))
    deployment   = string
    organization = optional(string)
    token        = optional(string)
    quiet_period = optional(string)
    max_wait     = optional(string)
    syntax       = optional(string)
    guard = optional(object({
      allow_empty         = optional(bool)
      max_removed_percent = optional(number)
      max_removed_files   = optional(number)
    }))
    limits = optional(object({
      max_files = optional(number)
      max_bytes = optional(string)
    }))
    replace_existing = optional(bool)
    on_drift         = optional(string)
    base_dir         = optional(string)
    keep_bundles     = optional(number)
    status           = optional(string)
    import_errors    = optional(bool)
    notify           = optional(list(string))
  }))
  nullable = false

  validation {
    condition     = length(var.routes) > 0
    error_message = "routes is empty: list at least one route."
  }

  validation {
    condition     = alltrue([for r in var.routes : can(regex("^[a-z0-9-]{1,63}$", r.name))])
    error_message = "${join(", ", [for r in var.routes : jsonencode(r.name) if !can(regex("^[a-z0-9-]{1,63}$", r.name))])} cannot be a route's name: use 1 to 63 lower-case letters, digits and dashes."
  }

  validation {
    condition     = length(distinct(var.routes[*].name)) == length(var.routes)
    error_message = "Two routes have the same name (${join(", ", [for n in distinct(var.routes[*].name) : n if length([for r in var.routes : r.name if r.name == n]) > 1])}): give each route a name of its own."
  }

  validation {
    condition     = alltrue([for r in var.routes : length(r.sources) > 0])
    error_message = "Route ${join(", ", [for r in var.routes : r.name if length(r.sources) == 0])} has no sources: list at least one, such as {url = \"s3://acme-dags/dags/\"}."
  }

  # The value is not shown: it may be a token in the wrong place.
  validation {
    condition     = alltrue([for r in var.routes : can(regex("^[A-Za-z0-9_-]{1,64}$", r.deployment))])
    error_message = "The deployment of ${join(", ", [for r in var.routes : r.name if !can(regex("^[A-Za-z0-9_-]{1,64}$", r.deployment))])} is not the ID of an Astro Deployment: write the ID alone, such as clmh57jtm000008lb58fe2wmv; no URL, name or token."
  }

  validation {
    condition     = alltrue([for r in var.routes : r.organization == null || can(regex("^[A-Za-z0-9_-]{1,64}$", r.organization))])
    error_message = "The organization of ${join(", ", [for r in var.routes : r.name if r.organization == null ? false : !can(regex("^[A-Za-z0-9_-]{1,64}$", r.organization))])} is not the ID of an Astro Organization: write the ID alone, such as clmg78a9d000008l7ek2m1a2b, or leave it out."
  }

  validation {
    condition     = length(distinct(var.routes[*].deployment)) == length(var.routes)
    error_message = "Two routes deploy to the same Deployment (${join(", ", [for r in var.routes : r.name if length([for o in var.routes : o.name if o.deployment == r.deployment]) > 1])}) and would overwrite each other: put all sources into one route."
  }

  validation {
    condition     = alltrue(flatten([for r in var.routes : [for s in r.sources : !can(regex("^(gs|file)://", s.url))]]))
    error_message = "A source is no S3 bucket; this function reads S3 alone: write s3://bucket/prefix/, or use the module for Google Cloud for gs:// sources."
  }

  validation {
    condition = alltrue(flatten([for r in var.routes : [for s in r.sources :
      can(regex("^(gs|file)://", s.url)) || can(regex("^s3://[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9](/|$)", s.url))
    ]]))
    error_message = "A source's url is not the URL of a bucket: write s3://bucket/prefix/."
  }

  validation {
    condition     = alltrue(flatten([for r in var.routes : [for s in r.sources : endswith(s.url, "/")]]))
    error_message = "A source's url does not end in a slash, so that s3://acme-dags/dags would match dags_old/ too: write ${join(", ", flatten([for r in var.routes : [for s in r.sources : "${s.url}/" if !endswith(s.url, "/")]]))}."
  }

  validation {
    condition = alltrue(flatten([for r in var.routes : [for s in r.sources :
      !can(regex("//", replace(s.url, "/^[a-z0-9]+:///", ""))) && !can(regex("[*?[:cntrl:]]|\\$\\{", s.url)) && trimspace(s.url) == s.url && length(s.url) <= 1300
    ]]))
    error_message = "A source's url has an empty segment (//), a space at an end, a control character, or *, ? or $${, which IAM reads as a pattern: write a plain prefix."
  }

  validation {
    condition     = alltrue(flatten([for r in var.routes : [for s in r.sources : !can(regex("[^\\x{20}-\\x{7e}\\x{a0}-\\x{ff}]", s.url))]]))
    error_message = "A source's url has a character beyond Latin-1 (U+00FF) or a control character, which no policy of IAM may contain: rename the prefix, best with letters, digits, dashes and slashes alone."
  }

  validation {
    condition = alltrue([for r in var.routes :
      length(distinct([for s in r.sources : "${s.url} ${s.mount == null ? "" : trimsuffix(s.mount, "/")}"])) == length(r.sources)
    ])
    error_message = "A route lists the same source twice: remove one, or mount it elsewhere."
  }

  validation {
    condition     = alltrue(flatten([for r in var.routes : [for s in r.sources : split("/", trimprefix(s.url, "s3://"))[0] != local.state_bucket]]))
    error_message = "A source lies in the state bucket (${local.state_bucket}): dagbucket would deploy what it writes itself. Read another bucket, or set state_bucket_name to another."
  }

  validation {
    condition = alltrue(flatten([for r in var.routes : [for s in r.sources :
      s.mount == null ? true : s.mount == "" ? true : (
        length(s.mount) <= 512 && !can(regex("\\\\|[[:cntrl:]]", s.mount)) &&
        alltrue([for p in split("/", trimsuffix(s.mount, "/")) : !contains(["", ".", ".."], p) && length(p) <= 255])
      )
    ]]))
    error_message = "A source's mount is not a plain relative path: write one such as a/b, without a leading slash, backslash, . or .. segment, of at most 512 characters."
  }

  validation {
    condition = alltrue(flatten([for r in var.routes : [for d in [r.quiet_period, r.max_wait] :
      d == null ? true : can(regex("^(0|([0-9]+(\\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$", d))
    ]]))
    error_message = "A quiet_period or max_wait of ${join(", ", [for r in var.routes : r.name if anytrue([for d in [r.quiet_period, r.max_wait] : d == null ? false : !can(regex("^(0|([0-9]+(\\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$", d))])])} is not a duration: write numbers with units, such as 10s, 3m, 1m30s or 500ms."
  }

  validation {
    condition = alltrue([for r in var.routes :
      sum(concat([0], [for p in regexall("([0-9.]+)(ns|us|µs|ms|s|m|h)", r.max_wait == null ? "3m" : r.max_wait) : tonumber(p[0]) * local.seconds_of[p[1]]])) >=
      sum(concat([0], [for p in regexall("([0-9.]+)(ns|us|µs|ms|s|m|h)", r.quiet_period == null ? "10s" : r.quiet_period) : tonumber(p[0]) * local.seconds_of[p[1]]]))
    ])
    error_message = "A route's max_wait (default 3m) is shorter than its quiet_period (default 10s): raise max_wait, or lower quiet_period."
  }

  validation {
    condition = alltrue(flatten([for r in var.routes : [for s in concat([r.syntax], r.sources[*].syntax) :
      s == null ? true : contains(["keep-last-good", "hold", "warn", "off"], s)
    ]]))
    error_message = "A syntax is not possible: use keep-last-good, hold, warn or off."
  }

  validation {
    condition     = alltrue([for r in var.routes : r.on_drift == null ? true : contains(["heal", "redeploy", "report"], r.on_drift)])
    error_message = "A route's on_drift is not possible: use heal, redeploy or report."
  }

  validation {
    condition     = alltrue([for r in var.routes : r.base_dir == null ? true : contains(["dags", ""], r.base_dir)])
    error_message = "A route's base_dir is not possible: use \"dags\", or \"\" for the archive's root."
  }

  validation {
    condition = alltrue([for r in var.routes :
      try(r.guard.max_removed_percent, null) == null ? true : (
        r.guard.max_removed_percent >= 0 && r.guard.max_removed_percent <= 100 && floor(r.guard.max_removed_percent) == r.guard.max_removed_percent
      )
    ])
    error_message = "A route's guard.max_removed_percent is not a percentage: write a whole number from 0 to 100."
  }

  validation {
    condition = alltrue(flatten([for r in var.routes : [
      for n in [try(r.guard.max_removed_files, null), try(r.limits.max_files, null), r.keep_bundles] :
      n == null ? true : n >= 0 && n <= 2147483647 && floor(n) == n
    ]]))
    error_message = "A route's max_removed_files, max_files or keep_bundles is not a count: write a whole number from 0 to 2147483647."
  }

  validation {
    condition     = alltrue([for r in var.routes : try(r.limits.max_bytes, null) == null ? true : can(regex("^[0-9]{1,15} ?([kKMGT]i?B|B)?$", r.limits.max_bytes))])
    error_message = "A route's limits.max_bytes is not a size: write a whole number of bytes, or one with a unit, such as \"500MB\" or \"2GiB\"."
  }

  # The value is not shown: it may be the token itself.
  validation {
    condition     = alltrue([for r in var.routes : r.token == null ? true : !can(regex("^(env|file|gcp-sm):", r.token))])
    error_message = "The token of ${join(", ", [for r in var.routes : r.name if r.token == null ? false : can(regex("^(env|file|gcp-sm):", r.token))])} is an env:, file: or gcp-sm: reference, which the function cannot read safely: use aws-sm:ARN or aws-ssm:NAME."
  }

  validation {
    condition = alltrue([for r in var.routes : r.token == null ? true : can(regex(join("|", [
      "^(env|file|gcp-sm):",
      "^aws-sm:arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[A-Za-z0-9/_+=.@!-]+-[A-Za-z0-9]{6}(#[^[:cntrl:]]+)?$",
      "^aws-ssm:(arn:aws[a-z-]*:ssm:[a-z0-9-]+:[0-9]{12}:parameter/)?[A-Za-z0-9/_.-]+(:[A-Za-z0-9_.-]+)?$",
    ]), r.token))])
    error_message = "A route's token is not the reference of a secret: write aws-sm: and its whole ARN (with the six characters at its end), or aws-ssm: and a parameter's name."
  }

  validation {
    condition     = alltrue([for r in var.routes : r.status == null ? true : can(regex("^s3://[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]/([^/[:cntrl:]]+/)*$", r.status))])
    error_message = "A route's status is not the URL of a folder in a bucket: write s3://bucket/prefix/, with a slash at its end."
  }

  validation {
    condition = alltrue(flatten([for r in var.routes : r.status == null ? [true] : concat(
      [split("/", trimprefix(r.status, "s3://"))[0] != local.state_bucket],
      flatten([for other in var.routes : [for s in other.sources : !startswith(r.status, s.url)]]),
    )]))
    error_message = "A route's status lies inside a source or in the state bucket: each run would wake the next one. Give the pages a place of their own."
  }

  validation {
    condition     = length(distinct([for r in var.routes : r.status if r.status != null])) == length([for r in var.routes : r.status if r.status != null])
    error_message = "Two routes have the same status: give each route's pages a place of their own."
  }

  validation {
    condition     = alltrue([for r in var.routes : r.status == null ? true : !can(regex("[*?]|\\$\\{|[^\\x{20}-\\x{7e}\\x{a0}-\\x{ff}]", r.status)) && length(r.status) <= 1000])
    error_message = "A route's status has *, ? or $${, which IAM reads as a pattern, or a character beyond Latin-1 (U+00FF), which no policy of IAM may contain: write a plain prefix."
  }

  # No value is shown from here on: the address of a webhook is a secret. A target as a text is one with nothing but "to".
  validation {
    condition = alltrue(flatten([for r in var.routes : r.notify == null ? [true] : [for d in [for n in r.notify : try(jsondecode(startswith(n, "{") ? n : jsonencode({ to = n })), {})] :
      can(regex("^sns:arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_.-]{1,256}$", d.to)) || can(regex("^webhook:https://[^/[:space:]]+", d.to)) ||
      can(regex("^(webhook|slack):(${local.reference_form})$", d.to))
    ]]))
    error_message = "A route's notify has no target that this function can reach: write sns:ARN, webhook:https://…, webhook: or slack: and a reference (aws-sm: with the secret's whole ARN, or aws-ssm:NAME), or jsonencode({ to = …, secret = …, format = …, events = […] })."
  }

  validation {
    condition = alltrue(flatten([for r in var.routes : r.notify == null ? [true] : [for d in [for n in r.notify : try(jsondecode(startswith(n, "{") ? n : jsonencode({ to = n })), {})] :
      !can(d.secret) ? true : can(regex("^(${local.reference_form})$", d.secret)) && can(regex("^webhook:", d.to)) && try(d.format, "json") != "slack"
    ]]))
    error_message = "A secret of notify signs the bodies of a webhook: target, and is a reference: aws-sm: and the secret's whole ARN, or aws-ssm:NAME."
  }

  validation {
    condition = alltrue(flatten([for r in var.routes : r.notify == null ? [true] : [for d in [for n in r.notify : try(jsondecode(startswith(n, "{") ? n : jsonencode({ to = n })), {})] :
      length(setsubtract(keys(d), ["to", "secret", "format", "events"])) == 0 &&
      (!can(d.format) ? true : can(regex("^(json|slack)$", d.format)) && can(regex("^webhook:", d.to))) &&
      (!can(d.events) ? true : try(length(d.events) > 0 && length(setsubtract(d.events, local.notify_events)) == 0, false))
    ]]))
    error_message = "A target of notify has an unknown key, a format other than json or slack (for webhook: alone), or events other than ${join(", ", local.notify_events)}."
  }

  validation {
    condition = alltrue([for r in var.routes : r.notify == null ? true : length(r.notify) == length(distinct(
      [for n in r.notify : try(jsondecode(n).to, n)]
    ))])
    error_message = "A route's notify has the same target twice: remove one."
  }
}

# Only what is special about a bucket:
#   create                       the module makes the bucket: private, encrypted, versioned; it may have no route, so that it outlives its last one
#   kms_key_arn                  customer-managed key of the bucket (existing: the function may decrypt with it; created: it is encrypted with it)
#   account_id                   the bucket belongs to this other account
#   manage_bucket_notification   null: same as create. For an existing bucket true REPLACES its notification document, with everybody's entries in it.
#                                Back to false (or destroy) leaves an empty document, EventBridge off: run the connect command right after.
#   noncurrent_days              created buckets: older versions are deleted after so many days
#   expire_delete_markers        created buckets: delete markers go when no version is left behind them; many of them make listing slow
# The keys must be known when planning; the ARNs need not be.
variable "buckets" {
  description = "What is special about source buckets, by name; one that is not in the map exists in this account and is left as it is. Those with create may have no route."
  type = map(object({
    create                     = optional(bool, false)
    kms_key_arn                = optional(string)
    account_id                 = optional(string)
    manage_bucket_notification = optional(bool)
    noncurrent_days            = optional(number, 30)
    expire_delete_markers      = optional(bool, true)
  }))
  default  = {}
  nullable = false

  validation {
    condition = alltrue([for name, b in var.buckets : b.create || contains(
      flatten([for r in var.routes : [for s in r.sources : split("/", trimprefix(s.url, "s3://"))[0]]]), name,
    )])
    error_message = "A bucket in buckets is the source of no route, and not one to create: correct its name, or remove it (${join(", ", keys(var.buckets))})."
  }

  validation {
    condition = alltrue([for name, b in var.buckets : !b.create || (
      can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", name)) && !can(regex("^(xn--|sthree-|amzn-s3-demo-)|(-s3alias|--ol-s3|--x-s3|--table-s3)$", name))
    )])
    error_message = "A bucket to create has a name that S3 or TLS does not take: use 3 to 63 lower-case letters, digits and dashes, no dots."
  }

  validation {
    condition     = alltrue([for name, b in var.buckets : name != local.state_bucket])
    error_message = "buckets names the state bucket (${local.state_bucket}), which the module makes anyway: remove it there, or set state_bucket_name to another."
  }

  validation {
    condition     = alltrue([for name, b in var.buckets : b.account_id == null ? true : can(regex("^[0-9]{12}$", b.account_id))])
    error_message = "A bucket's account_id is not the ID of an account: write its 12 digits, in quotes."
  }

  validation {
    condition     = alltrue([for name, b in var.buckets : b.account_id == null ? true : !b.create && coalesce(b.manage_bucket_notification, false) == false])
    error_message = "A bucket of another account (account_id) cannot be created or managed from here: leave create and manage_bucket_notification out."
  }

  validation {
    condition     = alltrue([for name, b in var.buckets : b.kms_key_arn == null ? true : can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", b.kms_key_arn))])
    error_message = "A bucket's kms_key_arn is not the ARN of a key: write arn:aws:kms:REGION:ACCOUNT:key/ID; an alias cannot be allowed in a policy."
  }

  validation {
    condition     = alltrue([for name, b in var.buckets : b.noncurrent_days >= 1 && floor(b.noncurrent_days) == b.noncurrent_days])
    error_message = "A bucket's noncurrent_days is less than a day: write a whole number from 1 on."
  }
}

variable "token_secret" {
  description = "ARN of the existing Secrets Manager secret with the Astro API token, if wanted with #json-key. null: the module creates an empty one."
  type        = string
  default     = null

  # The value is not shown: it may be the token itself.
  validation {
    condition = var.token_secret == null ? true : can(regex(
      "^arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[A-Za-z0-9/_+=.@!-]+-[A-Za-z0-9]{6}(#[^[:cntrl:]]+)?$", var.token_secret,
    ))
    error_message = "token_secret is not the ARN of a secret: write the whole ARN, with the six characters at its end, never the token itself."
  }
}

variable "create_token_secret" {
  description = "Whether the module creates the token's secret. null: if token_secret is null and a route needs it. Set false where the ARN is known only after apply."
  type        = bool
  default     = null

  validation {
    condition     = var.create_token_secret != true ? true : var.token_secret == null
    error_message = "create_token_secret is true and token_secret names an existing secret: remove one of them."
  }

  validation {
    condition     = var.create_token_secret != false ? true : var.token_secret != null || alltrue([for r in var.routes : r.token != null])
    error_message = "create_token_secret is false, and a route has no token: set token_secret to the secret's ARN, or give each route its token."
  }
}

variable "token_kms_key_arns" {
  description = "ARNs of the customer-managed keys with which existing secrets and parameters are encrypted: of tokens, and of webhooks in notify."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for k in var.token_kms_key_arns : can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", k))])
    error_message = "token_kms_key_arns holds something that is not the ARN of a key: write arn:aws:kms:REGION:ACCOUNT:key/ID."
  }
}

variable "notify_kms_key_arns" {
  description = "ARNs of the customer-managed keys with which the SNS topics of notify are encrypted."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for k in var.notify_kms_key_arns : can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", k))])
    error_message = "notify_kms_key_arns has something other than ARNs of keys: write arn:aws:kms:REGION:ACCOUNT:key/ID; an alias cannot be allowed in a policy."
  }
}

variable "status_kms_key_arns" {
  description = "ARNs of the customer-managed keys of the buckets that status names; those of buckets in buckets are known anyway."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for k in var.status_kms_key_arns : can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", k))])
    error_message = "status_kms_key_arns has something other than ARNs of keys: write arn:aws:kms:REGION:ACCOUNT:key/ID; an alias cannot be allowed in a policy."
  }
}

variable "astro_api_url" {
  description = "Address of Astro's API, if it is not the usual one."
  type        = string
  default     = null

  validation {
    condition     = var.astro_api_url == null ? true : can(regex("^https://[A-Za-z0-9.-]+(:[0-9]+)?(/[^?#[:space:]]*)?$", var.astro_api_url))
    error_message = "astro_api_url is not the address of an API: write one such as https://api.astronomer.io/v1; anything but https would send the token in the clear."
  }
}

variable "trigger" {
  description = "How a bucket of this account tells of changes: eventbridge, or notification (straight from the bucket to the queue). EventBridge gets all events of the bucket, whatever the prefix, at about 1 $ a million: use notification for a busy one."
  type        = string
  default     = "eventbridge"
  nullable    = false

  validation {
    condition     = contains(["eventbridge", "notification"], var.trigger)
    error_message = "trigger = \"${var.trigger}\": use eventbridge or notification."
  }
}

variable "check_buckets" {
  description = "Whether planning looks if the existing buckets of this account lie in this region. AWS answers 301 (moved permanently) for a bucket of another region. Set false for a bucket that the same apply creates outside the module."
  type        = bool
  default     = true
  nullable    = false
}

variable "zip_file" {
  description = "Path of the function's zip. null: build/lambda-arm64.zip or build/lambda-amd64.zip of this project, as make package builds them."
  type        = string
  default     = null

  validation {
    condition     = var.zip_file == null || var.zip_s3 == null
    error_message = "zip_file and zip_s3 are both set: remove one of them."
  }

  validation {
    condition = var.zip_s3 != null || fileexists(
      coalesce(var.zip_file, "${path.module}/../../build/lambda-${var.architecture == "x86_64" ? "amd64" : "arm64"}.zip")
    )
    error_message = "The function's zip is not there, and plan, apply and destroy all need it: build it with make package, set zip_file to its path, or set zip_s3 to its place in S3, which needs no local file."
  }
}

# bucket lies in the module's region; sha256_base64 is what `openssl dgst -sha256 -binary FILE | base64` prints.
variable "zip_s3" {
  description = "The function's zip in S3 instead of a local file, with the base64 SHA-256 of its content."
  type = object({
    bucket         = string
    key            = string
    object_version = optional(string)
    sha256_base64  = string
  })
  default = null

  validation {
    condition     = var.zip_s3 == null ? true : can(regex("^[A-Za-z0-9+/]{43}=$", var.zip_s3.sha256_base64))
    error_message = "zip_s3.sha256_base64 is not a SHA-256 in base64: write what openssl dgst -sha256 -binary FILE | base64 prints."
  }
}

variable "architecture" {
  description = "Processor of the function: arm64 or x86_64."
  type        = string
  default     = "arm64"
  nullable    = false

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "architecture = \"${var.architecture}\": use arm64 or x86_64 (which builds call amd64)."
  }
}

variable "memory_size" {
  description = "Memory of the function in MB; the processor grows with it. A run needs some 50 MB for 1,000 files and 240 MB for 100,000, however large they are, 100 MB more with the syntax check, and up to 450 MB if the zip lacks machine code."
  type        = number
  default     = 512
  nullable    = false

  validation {
    condition     = var.memory_size >= 512 && var.memory_size <= 10240 && floor(var.memory_size) == var.memory_size
    error_message = "memory_size = ${var.memory_size}: use a whole number from 512 to 10240 (the runs of an invocation share it)."
  }
}

variable "timeout" {
  description = "The function's time-out in seconds: at least two minutes more than the longest max_wait (default 3m), at most 900. An invocation works on 64 routes at a time and may have all of them: use 900 for hundreds."
  type        = number
  default     = 300
  nullable    = false

  validation {
    condition     = var.timeout >= 120 && var.timeout <= 900 && floor(var.timeout) == var.timeout
    error_message = "timeout = ${var.timeout}: use a whole number of seconds from 120 to 900."
  }

  validation {
    condition = alltrue([for r in var.routes : var.timeout >= 120 + sum(concat([0], [
      for p in regexall("([0-9.]+)(ns|us|µs|ms|s|m|h)", r.max_wait == null ? "3m" : r.max_wait) : tonumber(p[0]) * local.seconds_of[p[1]]
    ]))])
    error_message = "timeout = ${var.timeout} leaves a run less than 120 s after a route's max_wait (default 3m): raise timeout (at most 900), or lower max_wait."
  }
}

# The subnets need a way to S3, Secrets Manager and Astro: a NAT gateway, or endpoints and a proxy.
variable "vpc" {
  description = "Subnets and security groups for a function inside a VPC."
  type = object({
    subnet_ids         = list(string)
    security_group_ids = list(string)
  })
  default = null

  validation {
    condition = var.vpc == null ? true : (
      length(var.vpc.subnet_ids) > 0 && length(var.vpc.security_group_ids) > 0 &&
      alltrue([for s in var.vpc.subnet_ids : can(regex("^subnet-[0-9a-f]{8,17}$", s))]) &&
      alltrue([for s in var.vpc.security_group_ids : can(regex("^sg-[0-9a-f]{8,17}$", s))])
    )
    error_message = "vpc needs at least one subnet ID (subnet-…) and one security group ID (sg-…)."
  }
}

variable "iam_path" {
  description = "Path of the function's role."
  type        = string
  default     = "/"
  nullable    = false

  validation {
    condition     = can(regex("^/([A-Za-z0-9_+=,.@-]+/)*$", var.iam_path)) && length(var.iam_path) <= 512
    error_message = "iam_path = \"${var.iam_path}\": begin and end it with a slash, as in /service/."
  }
}

variable "permissions_boundary_arn" {
  description = "ARN of the permissions boundary for the function's role."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary_arn == null ? true : can(regex("^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/.+$", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn is not the ARN of a policy: write arn:aws:iam::ACCOUNT:policy/NAME."
  }
}

variable "log_retention_days" {
  description = "Days after which the function's logs are deleted."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition = contains(
      [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days,
    )
    error_message = "log_retention_days = ${var.log_retention_days}: CloudWatch takes 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653."
  }
}

variable "kms_key_arn" {
  description = "ARN of an existing customer-managed key for state bucket, queues, created secret, logs and topic. Its policy needs what kms_key_policy_statements prints."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null ? true : can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", var.kms_key_arn))
    error_message = "kms_key_arn is not the ARN of a key: write arn:aws:kms:REGION:ACCOUNT:key/ID; an alias cannot be allowed in a policy."
  }

  validation {
    condition     = var.create_kms_key ? var.kms_key_arn == null : true
    error_message = "kms_key_arn is set together with create_kms_key: remove one of them."
  }
}

variable "create_kms_key" {
  description = "Whether the module creates a customer-managed key for state bucket, queues, created secret, logs and topic. Without any key AWS's own keys encrypt."
  type        = bool
  default     = false
  nullable    = false
}

variable "former_kms_key_arns" {
  description = "ARNs of customer-managed keys with which older objects, messages or the secret are still encrypted: the function may go on decrypting with them."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for k in var.former_kms_key_arns : can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", k))])
    error_message = "former_kms_key_arns holds something that is not the ARN of a key: write arn:aws:kms:REGION:ACCOUNT:key/ID; an alias cannot be allowed in a policy."
  }
}

variable "state_bucket_name" {
  description = "Name of the state bucket, which is always created. null: NAME-state-ACCOUNT-REGION."
  type        = string
  default     = null

  validation {
    condition = var.state_bucket_name == null ? true : (
      can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.state_bucket_name)) &&
      !can(regex("^(xn--|sthree-|amzn-s3-demo-)|(-s3alias|--ol-s3|--x-s3|--table-s3)$", var.state_bucket_name))
    )
    error_message = "state_bucket_name is not a name for a bucket: use 3 to 63 lower-case letters, digits and dashes, no dots."
  }
}

variable "queue_visibility_timeout" {
  description = "Seconds until a message whose run failed comes again: at least six times timeout. null: six times timeout."
  type        = number
  default     = null

  validation {
    condition     = var.queue_visibility_timeout == null ? true : var.queue_visibility_timeout >= 6 * var.timeout && var.queue_visibility_timeout <= 43200
    error_message = "queue_visibility_timeout is not between six times timeout (6 × ${var.timeout} s) and 43200: raise it, or lower timeout."
  }
}

variable "batch_size" {
  description = "How many messages one invocation takes at most."
  type        = number
  default     = 1000
  nullable    = false

  validation {
    condition     = var.batch_size >= 1 && var.batch_size <= 10000 && floor(var.batch_size) == var.batch_size
    error_message = "batch_size = ${var.batch_size}: use a whole number from 1 to 10000."
  }
}

variable "batch_window" {
  description = "Seconds for which messages are collected into one invocation."
  type        = number
  default     = 2
  nullable    = false

  validation {
    condition     = var.batch_window >= 1 && var.batch_window <= 300 && floor(var.batch_window) == var.batch_window
    error_message = "batch_window = ${var.batch_window}: use a whole number of seconds from 1 to 300; Lambda takes batches of more than 10 messages only with a window."
  }
}

variable "max_concurrency" {
  description = "How many invocations run at once at most. null: one for each route, at least 2."
  type        = number
  default     = null

  validation {
    condition     = var.max_concurrency == null ? true : var.max_concurrency >= 2 && var.max_concurrency <= 1000 && floor(var.max_concurrency) == var.max_concurrency
    error_message = "max_concurrency is not possible: use a whole number from 2 to 1000."
  }
}

variable "reconcile_schedule" {
  description = "How often the function looks at every source even without an event: rate(…) of at most 12 hours, or cron(…). If cron(…) runs more rarely than once a day, set alarm_per_route = false."
  type        = string
  default     = "rate(5 minutes)"
  nullable    = false

  validation {
    condition     = can(regex("^(rate\\((1 (minute|hour)|([2-9]|[1-9][0-9]+) (minutes|hours))\\)|cron\\([^ ()]+( [^ ()]+){5}\\))$", var.reconcile_schedule))
    error_message = "reconcile_schedule = \"${var.reconcile_schedule}\": write rate(1 minute), rate(5 minutes), rate(1 hour) or cron(…) with six fields."
  }

  # The alarm for a route without a success in a day must not fire because nothing was scheduled.
  validation {
    condition = can(regex("^rate\\([0-9]+ hours?\\)$", var.reconcile_schedule)) ? tonumber(regex("[0-9]+", var.reconcile_schedule)) <= 12 : (
      can(regex("^rate\\([0-9]+ minutes?\\)$", var.reconcile_schedule)) ? tonumber(regex("[0-9]+", var.reconcile_schedule)) <= 720 : true
    )
    error_message = "reconcile_schedule = \"${var.reconcile_schedule}\" is rarer than every 12 hours: lost events would stay lost for too long. Use a shorter rate."
  }
}

variable "alarms" {
  description = "Whether alarms are created: dead letters, errors, failed runs, age of the oldest message, routes without success."
  type        = bool
  default     = true
  nullable    = false
}

variable "alarm_per_route" {
  description = "Whether each route has an alarm for a day without a successful run."
  type        = bool
  default     = true
  nullable    = false
}

variable "alarm_held" {
  description = "Whether runs that are held for a person raise an alarm after about an hour."
  type        = bool
  default     = false
  nullable    = false
}

variable "alarm_topic_arn" {
  description = "ARN of an existing SNS topic for the alarms. null: the module creates one."
  type        = string
  default     = null

  validation {
    condition     = var.alarm_topic_arn == null ? true : can(regex("^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}$", var.alarm_topic_arn))
    error_message = "alarm_topic_arn is not the ARN of a standard topic: write arn:aws:sns:REGION:ACCOUNT:NAME; CloudWatch sends to no FIFO topic."
  }

  validation {
    condition     = var.alarm_topic_arn == null ? true : try(split(":", var.alarm_topic_arn)[3], local.region) == local.region
    error_message = "alarm_topic_arn lies in another region than the alarms (${local.region}), and CloudWatch sends to topics of its own region only: use a topic there."
  }
}

variable "create_alarm_topic" {
  description = "Whether the module creates the alarms' topic. null: if alarm_topic_arn is null. Set false where the ARN is known only after apply."
  type        = bool
  default     = null

  validation {
    condition     = var.create_alarm_topic != true ? true : var.alarm_topic_arn == null
    error_message = "create_alarm_topic is true and alarm_topic_arn names an existing topic: remove one of them."
  }
}

variable "alarm_emails" {
  description = "Addresses that the created topic sends alarms to; each of them must confirm a mail."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for a in var.alarm_emails : can(regex("^[^@[:space:]]+@[^@[:space:]]+\\.[^@[:space:]]+$", a))])
    error_message = "alarm_emails holds something that is not an address: write name@example.com."
  }

  validation {
    condition     = length(var.alarm_emails) == 0 ? true : var.alarms && var.create_alarm_topic != false && var.alarm_topic_arn == null
    error_message = "alarm_emails are those of the topic that the module creates: subscribe them to your own topic there, or remove alarm_topic_arn; alarms must be true."
  }
}

variable "oldest_message_seconds" {
  description = "Age of the oldest message in seconds that raises an alarm. null: queue_visibility_timeout and twice timeout, so that one failed run that passes when repeated does not."
  type        = number
  default     = null

  validation {
    condition     = var.oldest_message_seconds == null ? true : var.oldest_message_seconds >= 60 && var.oldest_message_seconds <= 604800
    error_message = "oldest_message_seconds is not between 60 and 604800 (the queue keeps messages for 7 days)."
  }
}

variable "dashboard" {
  description = "Whether a CloudWatch dashboard is created; the first three of an account cost nothing."
  type        = bool
  default     = true
  nullable    = false
}

variable "tags" {
  description = "Tags of everything that takes them."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition = length(var.tags) <= 50 && alltrue([for k, v in var.tags :
      length(k) >= 1 && length(k) <= 128 && length(v) <= 256 && !startswith(lower(k), "aws:")
    ])
    error_message = "tags: at most 50, keys of 1 to 128 characters that do not begin with aws:, values of at most 256 characters."
  }
}
