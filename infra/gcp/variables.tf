variable "project" {
  description = "ID of the Google Cloud project."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "project: \"${var.project}\" is not a project ID; write the ID (6 to 30 lower-case letters, digits and dashes), not its number or display name."
  }
}

variable "region" {
  description = "Region of the function, its state and its queue, such as europe-west1."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region: \"${var.region}\" is not a region; write one such as us-central1 (no zone, no multi-region)."
  }
}

variable "name" {
  description = "Prefix of every name: 2 to 22 lower-case letters, digits and dashes."
  type        = string
  default     = "dagbucket"

  validation {
    # Service accounts have at most 30 characters, and the longest end is "-trigger".
    condition     = can(regex("^[a-z][a-z0-9-]{0,20}[a-z0-9]$", var.name))
    error_message = "name: \"${var.name}\" makes names that Google refuses; use 2 to 22 lower-case letters, digits and dashes, with a letter first and no dash last."
  }

  validation {
    condition     = !startswith(var.name, "goog") && !strcontains(var.name, "google")
    error_message = "name: \"${var.name}\" makes names that Google keeps for itself; take one that does not begin with goog and has no google in it."
  }
}

variable "labels" {
  description = "Labels of everything that takes labels."
  type        = map(string)
  default     = {}

  validation {
    condition = length(var.labels) <= 60 && alltrue([
      for k, v in var.labels : can(regex("^[a-z][a-z0-9_-]{0,62}$", k)) && can(regex("^[a-z0-9_-]{0,63}$", v))
    ])
    error_message = "labels: keys and values take lower-case letters, digits, _ and -, at most 63 of them, a key begins with a letter, and there are at most 60."
  }
}

# The keys are those of the configuration file; what is null is left out of the file, so that the program's own default holds.
#   name              1 to 63 lower-case letters, digits and dashes
#   sources           url "gs://bucket/prefix/" (the bucket's name must be known at plan), mount, syntax
#   deployment        ID of the Astro Deployment
#   organization      ID of the Astro Organization; read from the token if null
#   token             "gcp-sm:projects/P/secrets/S/versions/V"; null: the module's token_secret. Known at plan: a secret of the same apply is a token_secret
#   quiet_period, max_wait                    durations such as "10s", "3m" or "1m30s"
#   guard             allow_empty, max_removed_percent, max_removed_files
#   limits            max_files, max_bytes (such as "2GiB")
#   replace_existing, on_drift, base_dir, keep_bundles
#   syntax, import_errors
#   status            "gs://bucket/prefix/": a copy of the status pages, in a bucket with uniform access; known at plan
#   notify            each a text, "pubsub:projects/P/topics/T", "webhook:https://…", "webhook:REFERENCE" or "slack:REFERENCE", or where there is more to
#                     say jsonencode({to, secret, format, events}); a reference is that of a secret, as for token. Topics and references known at plan
variable "routes" {
  description = "The routes of the configuration file, with its keys: each brings one or more bucket prefixes to one Astro Deployment."
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
    error_message = "routes: list at least one route."
  }

  validation {
    condition     = alltrue([for r in var.routes : can(regex("^[a-z0-9-]{1,63}$", r.name))])
    error_message = "routes: these are no names of routes: ${join(", ", [for r in var.routes : "\"${r.name}\"" if !can(regex("^[a-z0-9-]{1,63}$", r.name))])}; use 1 to 63 lower-case letters, digits and dashes."
  }

  validation {
    condition     = length(distinct(var.routes[*].name)) == length(var.routes)
    error_message = "routes: two routes have the same name; give each a name of its own."
  }

  validation {
    # The value is not shown: it may be a token in the wrong place.
    condition     = alltrue([for r in var.routes : can(regex("^[A-Za-z0-9_-]{1,64}$", r.deployment)) && !startswith(r.deployment, "eyJ")])
    error_message = "routes: the deployment of ${join(", ", [for r in var.routes : r.name if !can(regex("^[A-Za-z0-9_-]{1,64}$", r.deployment)) || startswith(r.deployment, "eyJ")])} is no Deployment ID; write the ID alone, as in clmh57jtm000008lb58fe2wmv, not a URL and never a token."
  }

  validation {
    condition     = alltrue([for r in var.routes : r.organization == null ? true : can(regex("^[A-Za-z0-9_-]{1,64}$", r.organization))])
    error_message = "routes: the organization of ${join(", ", [for r in var.routes : r.name if r.organization == null ? false : !can(regex("^[A-Za-z0-9_-]{1,64}$", r.organization))])} is no Organization ID; write the ID as Astro shows it, or leave it out."
  }

  validation {
    condition     = length(distinct(var.routes[*].deployment)) == length(var.routes)
    error_message = "routes: two routes have the same deployment and would overwrite each other; put all sources into one route."
  }

  validation {
    condition     = alltrue([for r in var.routes : length(r.sources) > 0])
    error_message = "routes: ${join(", ", [for r in var.routes : r.name if length(r.sources) == 0])} has no source; list at least one, such as { url = \"gs://acme-dags/dags/\" }."
  }

  validation {
    condition     = alltrue([for s in flatten(var.routes[*].sources) : startswith(s.url, "gs://")])
    error_message = "routes: ${join(", ", [for s in flatten(var.routes[*].sources) : "\"${s.url}\"" if !startswith(s.url, "gs://")])}: a function on Google Cloud reads gs:// sources alone; use the AWS module for s3://."
  }

  validation {
    condition     = alltrue([for s in flatten(var.routes[*].sources) : endswith(s.url, "/")])
    error_message = "routes: a source needs a slash at its end, so that dags does not match dags_old/; write ${join(", ", [for s in flatten(var.routes[*].sources) : "\"${s.url}/\"" if !endswith(s.url, "/")])}."
  }

  validation {
    condition = alltrue([
      for s in flatten(var.routes[*].sources) : !startswith(s.url, "gs://") ? true : (
        can(regex("^gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9](/|$)", s.url)) && !strcontains(trimprefix(s.url, "gs://"), "//") && length(s.url) <= 1300
      )
    ])
    error_message = "routes: a source is \"gs://bucket/prefix/\", with a bucket of Cloud Storage (3 to 222 lower-case letters, digits, dots, dashes, underscores) and each slash once; ${join(", ", [for s in flatten(var.routes[*].sources) : "\"${s.url}\"" if !can(regex("^gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9](/|$)", s.url)) || strcontains(trimprefix(s.url, "gs://"), "//")])} is not."
  }

  validation {
    condition     = alltrue([for r in var.routes : length(distinct([for s in r.sources : "${s.url} ${coalesce(s.mount, "/")}"])) == length(r.sources)])
    error_message = "routes: ${join(", ", [for r in var.routes : r.name if length(distinct([for s in r.sources : "${s.url} ${coalesce(s.mount, "/")}"])) != length(r.sources)])} names a source twice; remove one, or mount it elsewhere."
  }

  validation {
    condition = alltrue([
      for s in flatten(var.routes[*].sources) : s.mount == null || s.mount == "" ? true : (
        length(s.mount) <= 512 && !startswith(s.mount, "/") && !strcontains(s.mount, "\\") && !can(regex("[[:cntrl:]]", s.mount)) &&
        alltrue([for segment in split("/", trimsuffix(s.mount, "/")) : !contains(["", ".", ".."], segment) && length(segment) <= 255])
      )
    ])
    error_message = "routes: a mount is a plain path below the base folder, such as ml or a/b: no leading slash, no backslash, no empty, . or .. segment."
  }

  validation {
    condition = alltrue([
      for d in flatten([for r in var.routes : [r.quiet_period, r.max_wait]]) :
      d == null ? true : can(regex("^(0|([0-9]+(\\.[0-9]+)?(h|m|s|ms|us|µs|ns))+)$", d))
    ])
    error_message = "routes: quiet_period and max_wait are durations with a unit, such as \"10s\", \"3m\", \"1m30s\" or \"500ms\"."
  }

  validation {
    # 10s and 3m are the program's defaults.
    condition = alltrue([
      for r in var.routes :
      sum(concat([0], [for p in regexall("([0-9]+(?:\\.[0-9]+)?)(ms|us|µs|ns|h|m|s)", coalesce(r.max_wait, "3m")) : tonumber(p[0]) * lookup({ h = 3600, m = 60, s = 1 }, p[1], 0.001)])) >=
      sum(concat([0], [for p in regexall("([0-9]+(?:\\.[0-9]+)?)(ms|us|µs|ns|h|m|s)", coalesce(r.quiet_period, "10s")) : tonumber(p[0]) * lookup({ h = 3600, m = 60, s = 1 }, p[1], 0.001)]))
    ])
    error_message = "routes: a max_wait (3m if left out) is shorter than its quiet_period (10s if left out); raise it, or lower the quiet period."
  }

  validation {
    condition = alltrue([
      for p in flatten([for r in var.routes : [try(r.guard.max_removed_percent, null)]]) : p == null ? true : p >= 0 && p <= 100 && floor(p) == p
    ])
    error_message = "routes: guard.max_removed_percent is a whole number from 0 to 100."
  }

  validation {
    condition = alltrue([
      for n in flatten([for r in var.routes : [try(r.guard.max_removed_files, null), try(r.limits.max_files, null), r.keep_bundles]]) :
      n == null ? true : n >= 0 && n <= 2147483647 && floor(n) == n
    ])
    error_message = "routes: guard.max_removed_files, limits.max_files and keep_bundles are whole numbers from 0."
  }

  validation {
    condition = alltrue([
      for b in [for r in var.routes : try(r.limits.max_bytes, null)] : b == null ? true : can(regex("^[0-9]{1,15} ?([kKMGT]?i?B)?$", b))
    ])
    error_message = "routes: limits.max_bytes is a number of bytes or a size such as \"500MB\" or \"2GiB\"."
  }

  validation {
    condition = alltrue([
      for s in flatten([for r in var.routes : concat([r.syntax], r.sources[*].syntax)]) : s == null ? true : contains(["keep-last-good", "hold", "warn", "off"], s)
    ])
    error_message = "routes: syntax is keep-last-good, hold, warn or off."
  }

  validation {
    condition     = alltrue([for r in var.routes : r.on_drift == null ? true : contains(["heal", "redeploy", "report"], r.on_drift)])
    error_message = "routes: on_drift is heal, redeploy or report."
  }

  validation {
    condition     = alltrue([for r in var.routes : r.base_dir == null ? true : contains(["dags", ""], r.base_dir)])
    error_message = "routes: base_dir is \"dags\", or \"\" for the archive's root."
  }

  validation {
    # Other values are not shown: one may be the token itself.
    condition     = alltrue([for r in var.routes : r.token == null ? true : can(regex("^gcp-sm:projects/[^/\\s]+/secrets/[A-Za-z0-9_-]{1,255}/versions/[^/\\s]+$", r.token))])
    error_message = "routes: the token of ${join(", ", [for r in var.routes : r.name if r.token == null ? false : !can(regex("^gcp-sm:projects/[^/\\s]+/secrets/[A-Za-z0-9_-]{1,255}/versions/[^/\\s]+$", r.token))])} is no reference that this function can read; write gcp-sm:projects/P/secrets/S/versions/latest (env: and file: would put the token into the function), or leave it out for token_secret."
  }

  validation {
    # It would be granted twice, and lost with the route. A token_secret that every route names with a version of its own is granted once.
    condition = alltrue([for r in var.routes : r.token != null]) && var.token_secret != null ? true : !contains(
      [for r in var.routes : split("/versions/", trimprefix(r.token, "gcp-sm:"))[0] if r.token != null],
      coalesce(var.token_secret, "projects/${var.project}/secrets/${var.name}-token"),
    )
    error_message = "routes: the token of a route lies in token_secret, which other routes use without naming it; leave the token out there too."
  }

  validation {
    condition = alltrue([
      for s in [for r in var.routes : r.status if r.status != null] : can(regex("^gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]/([^/]+/)*$", s))
    ])
    error_message = "routes: status is a place in a bucket, with a slash at its end, such as gs://acme-dags-status/prod/."
  }

  validation {
    condition = alltrue(flatten([
      for r in var.routes : [for s in flatten(var.routes[*].sources) : r.status == null ? true : !startswith(r.status, s.url)]
    ]))
    error_message = "routes: a status lies inside a source, so that dagbucket would deploy what it writes itself; move it outside."
  }

  validation {
    condition     = length(distinct([for r in var.routes : r.status if r.status != null])) == length([for r in var.routes : r.status if r.status != null])
    error_message = "routes: two routes have the same status; give each route's pages a place of their own."
  }

  validation {
    # Webhook addresses are secrets, so values are not shown. A target as a text is one with nothing but "to".
    condition = alltrue(flatten([for r in var.routes : [for d in [for n in coalesce(r.notify, []) : try(jsondecode(startswith(n, "{") ? n : jsonencode({ to = n })), {})] :
      can(regex("^(pubsub:projects/[a-z0-9][a-z0-9.:-]{0,99}/topics/[A-Za-z][A-Za-z0-9_.~+-]{2,254}|webhook:https://[^\\s/]+.*|(webhook|slack):${local.reference_form})$", d.to))
    ]]))
    error_message = "routes: a target of notify is pubsub:projects/P/topics/T, webhook:https://…, webhook: or slack: and a reference (gcp-sm:projects/P/secrets/S/versions/V), or jsonencode({ to = …, secret = …, format = …, events = […] })."
  }

  validation {
    condition = alltrue(flatten([for r in var.routes : [for d in [for n in coalesce(r.notify, []) : try(jsondecode(startswith(n, "{") ? n : jsonencode({ to = n })), {})] :
      !can(d.secret) ? true : can(regex("^${local.reference_form}$", d.secret)) && can(regex("^webhook:", d.to)) && try(d.format, "json") != "slack"
    ]]))
    error_message = "routes: a secret of notify signs the bodies of a webhook: target, and is a reference: gcp-sm:projects/P/secrets/S/versions/V."
  }

  validation {
    condition = alltrue(flatten([for r in var.routes : [for d in [for n in coalesce(r.notify, []) : try(jsondecode(startswith(n, "{") ? n : jsonencode({ to = n })), {})] :
      length(setsubtract(keys(d), ["to", "secret", "format", "events"])) == 0 &&
      (!can(d.format) ? true : can(regex("^(json|slack)$", d.format)) && can(regex("^webhook:", d.to))) &&
      (!can(d.events) ? true : try(length(d.events) > 0 && length(setsubtract(d.events, local.notify_events)) == 0, false))
    ]]))
    error_message = "routes: a target of notify has an unknown key, a format other than json or slack (for webhook: alone), or events other than ${join(", ", local.notify_events)}."
  }

  validation {
    condition = alltrue([for r in var.routes : length(coalesce(r.notify, [])) == length(distinct(
      [for n in coalesce(r.notify, []) : try(jsondecode(n).to, n)]
    ))])
    error_message = "routes: a notify has the same target twice; remove one."
  }

  validation {
    condition = alltrue(flatten([for r in var.routes : [for d in [for n in coalesce(r.notify, []) : try(jsondecode(startswith(n, "{") ? n : jsonencode({ to = n })), {})] :
      try(d.to, "") != "pubsub:projects/${var.project}/topics/${var.name}-events"
    ]]))
    error_message = "routes: a notify names the topic that wakes the function itself; take another one."
  }

  validation {
    # As for a token of a route.
    condition = alltrue([for r in var.routes : r.token != null]) && var.token_secret != null ? true : !anytrue(flatten([for r in var.routes : [for d in [for n in coalesce(r.notify, []) : try(jsondecode(startswith(n, "{") ? n : jsonencode({ to = n })), {})] : [
      for s in [try(replace(d.to, "/^(webhook|slack):/", ""), ""), try(d.secret, "")] :
      split("/versions/", trimprefix(s, "gcp-sm:"))[0] == coalesce(var.token_secret, "projects/${var.project}/secrets/${var.name}-token")
    ]]]))
    error_message = "routes: a secret of notify is token_secret, which holds the Astro API token; put it into a secret of its own."
  }
}

# create          true: the module makes the bucket, which may have no route; false (default): it exists, and gets one IAM member and notifications alone
# manage          false: add not even those; the output connect_commands is for the bucket's owner
# project         the project of an existing bucket, if it is another one (the module's project must then be known at plan)
# location        of the bucket; only for a created one (default: region) and for trigger = "eventarc", such as "eu" or "us-central1"
# kms_key         of a created bucket, known at plan (default: the module's kms_key, if it lies where the bucket does); existing ones need nothing.
#                 The module's kms_key must then be known as well, or use_kms_key be true
# requester_pays  true: readers pay for this existing bucket; the function may then use this project for it, and the provider must (see the README)
variable "buckets" {
  description = "What is special about source buckets, by name; one that is not listed exists already in this project, and is left as it is."
  type = map(object({
    create         = optional(bool, false)
    manage         = optional(bool, true)
    project        = optional(string)
    location       = optional(string)
    kms_key        = optional(string)
    requester_pays = optional(bool, false)
  }))
  default  = {}
  nullable = false

  validation {
    # A created one is kept when its last route goes.
    condition     = length(setsubtract([for name, b in var.buckets : name if !b.create], [for s in flatten(var.routes[*].sources) : split("/", trimprefix(s.url, "gs://"))[0]])) == 0
    error_message = "buckets: ${join(", ", setsubtract([for name, b in var.buckets : name if !b.create], [for s in flatten(var.routes[*].sources) : split("/", trimprefix(s.url, "gs://"))[0]]))} is no source of any route; correct the name, or remove it here."
  }

  validation {
    condition     = alltrue([for name, b in var.buckets : !b.create || b.project == null && b.manage && !b.requester_pays])
    error_message = "buckets: ${join(", ", [for name, b in var.buckets : name if b.create && (b.project != null || !b.manage || b.requester_pays)])}: a bucket with create = true is made in this project and managed here; leave out project, manage and requester_pays."
  }

  validation {
    # Dots make a domain's bucket, whose domain must be verified first.
    condition     = alltrue([for name, b in var.buckets : !b.create || can(regex("^[a-z0-9][a-z0-9_-]{1,61}[a-z0-9]$", name)) && !startswith(name, "goog") && !strcontains(name, "google")])
    error_message = "buckets: ${join(", ", [for name, b in var.buckets : name if b.create])}: a created bucket's name has 3 to 63 lower-case letters, digits, dashes and underscores, and no google in it."
  }

  validation {
    condition     = alltrue([for name, b in var.buckets : b.kms_key == null ? true : b.create && can(regex("^projects/[^/]+/locations/[a-z0-9-]+/keyRings/[^/]+/cryptoKeys/[^/]+$", b.kms_key))])
    error_message = "buckets: kms_key is for created buckets, as projects/P/locations/L/keyRings/R/cryptoKeys/K; existing ones with customer-managed keys need nothing."
  }

  validation {
    condition     = alltrue([for name, b in var.buckets : b.location == null ? true : can(regex("^([a-zA-Z]+-[a-zA-Z]+[0-9]+|[uU][sS]|[eE][uU]|[aA][sS][iI][aA]|[nN][aA][mM]4|[eE][uU][rR][4578]|[aA][sS][iI][aA]1)$", b.location))])
    error_message = "buckets: a location is a region such as europe-west1, a multi-region (us, eu, asia) or a dual-region (nam4, eur4, …)."
  }

  validation {
    condition     = alltrue([for name, b in var.buckets : b.project == null ? true : can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", b.project))])
    error_message = "buckets: a project is a project ID of 6 to 30 lower-case letters, digits and dashes."
  }
}

variable "token_secret" {
  description = "Existing secret with the Astro API token, as projects/P/secrets/S; null makes an empty one, and the output fill_token_command fills it."
  type        = string
  default     = null

  validation {
    condition     = var.token_secret == null ? true : can(regex("^projects/[^/\\s]+/secrets/[A-Za-z0-9_-]{1,255}$", var.token_secret))
    error_message = "token_secret: write projects/P/secrets/S, without a version, and never the token itself (the value is not shown)."
  }
}

variable "create_token_secret" {
  description = "Say false where token_secret is known only after an apply, so that the plan can tell; null is whether token_secret is null."
  type        = bool
  default     = null

  validation {
    condition     = var.create_token_secret == null ? true : var.create_token_secret == (var.token_secret == null)
    error_message = "create_token_secret: it contradicts token_secret; give a token_secret and false, or neither."
  }
}

variable "token_secret_locations" {
  description = "Regions that keep copies of a created secret; empty lets Google choose, or is the region alone if kms_key is set."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for l in var.token_secret_locations : can(regex("^[a-z]+-[a-z]+[0-9]+$", l))]) && length(distinct(var.token_secret_locations)) == length(var.token_secret_locations)
    error_message = "token_secret_locations: list regions such as europe-west1, each once."
  }

  validation {
    condition     = var.kms_key == null ? true : length(setsubtract(var.token_secret_locations, [var.region])) == 0
    error_message = "token_secret_locations: a copy needs a key in its own region, and kms_key lies in ${var.region}; leave this empty, or give a token_secret of your own."
  }
}

variable "astro_api_url" {
  description = "Address of the Astro API; null is https://api.astronomer.io/v1."
  type        = string
  default     = null

  validation {
    condition     = var.astro_api_url == null ? true : can(regex("^https://[^\\s/?#@]+(/[^\\s?#@]*)?$", var.astro_api_url))
    error_message = "astro_api_url: write an https address without user, query or fragment, such as https://api.astronomer.io/v1."
  }
}

variable "trigger" {
  description = "Path of an event: pubsub (notifications by prefix, queue with dead letters) or eventarc (a trigger for each bucket and kind of event)."
  type        = string
  default     = "pubsub"

  validation {
    condition     = contains(["pubsub", "eventarc"], var.trigger)
    error_message = "trigger: \"${var.trigger}\" is not possible; use pubsub or eventarc."
  }

  validation {
    condition     = var.trigger != "eventarc" || alltrue([for name, b in var.buckets : (b.project == null ? true : b.project == var.project) && b.manage])
    error_message = "trigger: an Eventarc trigger lies in its bucket's project, and adds a notification to the bucket; use pubsub for buckets of other projects or with manage = false."
  }
}

variable "eventarc_agent_roles" {
  description = "With trigger = eventarc, let Cloud Storage's service agent publish to all topics of the project, as Eventarc needs; false if the project has granted it already."
  type        = bool
  default     = true
}

variable "schedule" {
  description = "When all buckets are looked at even without events, as a cron expression in UTC."
  type        = string
  default     = "*/5 * * * *"

  validation {
    condition     = can(regex("^[0-9*/,A-Za-z-]+( [0-9*/,A-Za-z-]+){4}$", var.schedule))
    error_message = "schedule: \"${var.schedule}\" is no cron expression; write five fields, such as \"*/5 * * * *\"."
  }
}

variable "scheduler_region" {
  description = "Region of the Cloud Scheduler job, where region has no Cloud Scheduler; null is region."
  type        = string
  default     = null

  validation {
    condition     = var.scheduler_region == null ? true : can(regex("^[a-z]+-[a-z]+[0-9]+$", var.scheduler_region))
    error_message = "scheduler_region: write a region such as europe-west1."
  }
}

variable "runtime" {
  description = "Runtime that builds and runs the function: Go 1.26 or newer."
  type        = string
  default     = "go126"

  validation {
    condition     = can(regex("^go1[0-9][0-9]$", var.runtime)) && try(tonumber(trimprefix(var.runtime, "go")), 0) >= 126
    error_message = "runtime: \"${var.runtime}\" cannot build this function; use go126 or newer."
  }
}

variable "memory" {
  description = "Memory of an instance, in Mi or Gi."
  type        = string
  default     = "512Mi"

  validation {
    condition = can(regex("^[1-9][0-9]*(Mi|Gi)$", var.memory)) && (
      try(tonumber(regex("^[0-9]+", var.memory)) * (endswith(var.memory, "Gi") ? 1024 : 1), 0) >= 512 &&
      try(tonumber(regex("^[0-9]+", var.memory)) * (endswith(var.memory, "Gi") ? 1024 : 1), 0) <= 32768
    )
    error_message = "memory: \"${var.memory}\" is not possible; write 512Mi to 32Gi, as in 512Mi or 1Gi (the runs of an instance share it)."
  }

  validation {
    # Cloud Run's own table of memory and CPU.
    condition = try(
      tonumber(regex("^[0-9]+", var.memory)) * (endswith(var.memory, "Gi") ? 1024 : 1) <= { "1" = 4096, "2" = 8192, "4" = 16384, "6" = 24576, "8" = 32768 }[var.cpu] &&
      tonumber(regex("^[0-9]+", var.memory)) * (endswith(var.memory, "Gi") ? 1024 : 1) >= { "1" = 128, "2" = 128, "4" = 2048, "6" = 4096, "8" = 4096 }[var.cpu],
      true
    )
    error_message = "memory: ${var.memory} does not go with cpu = ${var.cpu}; 1 takes up to 4Gi, 2 up to 8Gi, 4 takes 2Gi to 16Gi, 6 takes 4Gi to 24Gi, 8 takes 4Gi to 32Gi."
  }
}

variable "cpu" {
  description = "CPUs of an instance: 1, 2, 4, 6 or 8."
  type        = string
  default     = "1"

  validation {
    # Less than one CPU would serve one request at a time.
    condition     = contains(["1", "2", "4", "6", "8"], var.cpu)
    error_message = "cpu: \"${var.cpu}\" is not possible; use 1, 2, 4, 6 or 8."
  }
}

variable "timeout" {
  description = "Seconds that a request may take: at least the longest max_wait (3m if unset) and 120, at most 540."
  type        = number
  default     = 540

  validation {
    condition     = var.timeout >= 120 && var.timeout <= 540 && floor(var.timeout) == var.timeout
    error_message = "timeout: ${var.timeout} is not possible; use whole seconds up to 540, since Pub/Sub waits 600 s at most for an answer."
  }

  validation {
    condition     = alltrue([for name, seconds in local.max_wait : seconds + 120 <= var.timeout])
    error_message = "timeout: ${var.timeout} s leave no time to deploy after the max_wait (3m if unset) of ${join(", ", [for name, seconds in local.max_wait : name if seconds + 120 > var.timeout])}; raise the timeout to max_wait and 120 s, or lower max_wait."
  }
}

variable "concurrency" {
  description = "Requests that one instance serves at once; those for one route share runs."
  type        = number
  default     = 80

  validation {
    condition     = var.concurrency >= 1 && var.concurrency <= 1000 && floor(var.concurrency) == var.concurrency
    error_message = "concurrency: ${var.concurrency} is not possible; use 1 to 1000."
  }
}

variable "min_instances" {
  description = "Instances that are kept warm; each costs money while idle."
  type        = number
  default     = 0

  validation {
    condition     = var.min_instances >= 0 && var.min_instances <= var.max_instances && floor(var.min_instances) == var.min_instances
    error_message = "min_instances: ${var.min_instances} is not possible; use 0 to max_instances (${var.max_instances})."
  }
}

variable "max_instances" {
  description = "Instances at most. Any number is safe, since a lease lets one run at a time work on a route; an instance works on 64 routes at once."
  type        = number
  default     = 10

  validation {
    condition     = var.max_instances >= 1 && var.max_instances <= 1000 && floor(var.max_instances) == var.max_instances
    error_message = "max_instances: ${var.max_instances} is not possible; use 1 to 1000."
  }
}

variable "ingress" {
  description = "Who may reach the function before its token is checked: ALLOW_INTERNAL_ONLY (this project's Pub/Sub, Eventarc, Scheduler and VPC networks), ALLOW_INTERNAL_AND_GCLB or ALLOW_ALL."
  type        = string
  default     = "ALLOW_INTERNAL_ONLY"

  validation {
    condition     = contains(["ALLOW_INTERNAL_ONLY", "ALLOW_INTERNAL_AND_GCLB", "ALLOW_ALL"], var.ingress)
    error_message = "ingress: \"${var.ingress}\" is not possible; use ALLOW_INTERNAL_ONLY, ALLOW_INTERNAL_AND_GCLB or ALLOW_ALL."
  }
}

# connector              a Serverless VPC Access connector, as projects/P/locations/L/connectors/C
# network, subnetwork    direct VPC egress instead: best both, since Google fills in what is left out; tags are network tags
# all_traffic            true: everything leaves through the VPC (it then needs a NAT to reach Astro); false: private addresses only
variable "vpc" {
  description = "How the function reaches a VPC: a connector, or network and subnetwork for direct egress; null goes to the internet directly."
  type = object({
    connector   = optional(string)
    network     = optional(string)
    subnetwork  = optional(string)
    tags        = optional(list(string))
    all_traffic = optional(bool, false)
  })
  default = null

  validation {
    condition     = var.vpc == null ? true : (var.vpc.connector != null) != (var.vpc.network != null || var.vpc.subnetwork != null)
    error_message = "vpc: give either a connector, or network and subnetwork for direct egress."
  }

  validation {
    condition     = try(var.vpc.connector, null) == null ? true : can(regex("^projects/[^/]+/locations/[^/]+/connectors/[^/]+$", var.vpc.connector))
    error_message = "vpc: write the connector as projects/P/locations/L/connectors/C: Google gives a short name back in full, which would be a change at every plan."
  }
}

variable "zip_file" {
  description = "Package of the function on this machine, there at every plan and destroy; null is build/cloudfunction.zip of the project, as `make package` builds it."
  type        = string
  default     = null

  validation {
    condition     = var.zip_gcs != null || fileexists(coalesce(var.zip_file, "${path.module}/../../build/cloudfunction.zip"))
    error_message = "zip_file: ${coalesce(var.zip_file, "build/cloudfunction.zip")} does not exist; run `make package` in the project, or name the package's path (plan and destroy need it too), or use zip_gcs, which needs no file."
  }

  validation {
    condition     = var.zip_gcs == null || var.zip_file == null
    error_message = "zip_file: give either zip_file or zip_gcs."
  }
}

variable "zip_gcs" {
  description = "Package of the function in a bucket that the build's service account may read, with its generation, in place of zip_file."
  type = object({
    bucket     = string
    object     = string
    generation = number
  })
  default = null

  validation {
    condition     = var.zip_gcs == null ? true : var.zip_gcs.generation > 0 && endswith(var.zip_gcs.object, ".zip") && !startswith(var.zip_gcs.object, "/")
    error_message = "zip_gcs: object is a .zip without leading slash, and generation the positive number that `gcloud storage objects describe` prints."
  }
}

variable "state_bucket" {
  description = "Name of the state bucket that is created; null is <project>-<name>-state."
  type        = string
  default     = null

  validation {
    condition     = var.state_bucket == null ? true : can(regex("^[a-z0-9][a-z0-9_-]{1,61}[a-z0-9]$", var.state_bucket)) && !startswith(var.state_bucket, "goog") && !strcontains(var.state_bucket, "google")
    error_message = "state_bucket: a bucket's name has 3 to 63 lower-case letters, digits, dashes and underscores, and no google in it."
  }

  validation {
    condition     = !contains([for s in flatten(var.routes[*].sources) : split("/", trimprefix(s.url, "gs://"))[0]], coalesce(var.state_bucket, "${var.project}-${var.name}-state"))
    error_message = "state_bucket: ${coalesce(var.state_bucket, "${var.project}-${var.name}-state")} is a source as well, so that dagbucket would wake itself; give the state a bucket of its own."
  }

  validation {
    condition     = !contains(keys(var.buckets), coalesce(var.state_bucket, "${var.project}-${var.name}-state"))
    error_message = "state_bucket: ${coalesce(var.state_bucket, "${var.project}-${var.name}-state")} is listed in buckets; give the state a bucket of its own, and leave it out there."
  }

  validation {
    condition     = !contains([for r in var.routes : split("/", trimprefix(r.status, "gs://"))[0] if r.status != null], coalesce(var.state_bucket, "${var.project}-${var.name}-state"))
    error_message = "state_bucket: a status lies in the state bucket; people read it, so give the pages a bucket of their own."
  }
}

variable "state_version_days" {
  description = "Days that overwritten and removed objects of the state stay restorable."
  type        = number
  default     = 7

  validation {
    condition     = var.state_version_days >= 1 && var.state_version_days <= 3650 && floor(var.state_version_days) == var.state_version_days
    error_message = "state_version_days: ${var.state_version_days} is not possible; use 1 to 3650 days."
  }
}

variable "retry_min_backoff" {
  description = "Seconds before an event that failed comes again."
  type        = number
  default     = 30

  validation {
    # With less, an event whose instance died may be left to the schedule: the lease of the dead run must be seen to be stale.
    condition     = var.retry_min_backoff >= 30 && var.retry_min_backoff <= 600 && floor(var.retry_min_backoff) == var.retry_min_backoff
    error_message = "retry_min_backoff: ${var.retry_min_backoff} is not possible; use 30 to 600 s (with less, an event whose instance died may be left to the schedule)."
  }
}

variable "retry_max_backoff" {
  description = "Seconds that the time between attempts grows to."
  type        = number
  default     = 600

  validation {
    condition     = var.retry_max_backoff >= var.retry_min_backoff && var.retry_max_backoff <= 600 && floor(var.retry_max_backoff) == var.retry_max_backoff
    error_message = "retry_max_backoff: ${var.retry_max_backoff} is not possible; use retry_min_backoff (${var.retry_min_backoff}) to 600 s."
  }
}

variable "max_delivery_attempts" {
  description = "Attempts before an event becomes a dead letter."
  type        = number
  default     = 10

  validation {
    condition     = var.max_delivery_attempts >= 5 && var.max_delivery_attempts <= 100 && floor(var.max_delivery_attempts) == var.max_delivery_attempts
    error_message = "max_delivery_attempts: ${var.max_delivery_attempts} is not possible; Pub/Sub takes 5 to 100."
  }
}

variable "message_retention_days" {
  description = "Days that an event waits for the function at most."
  type        = number
  default     = 7

  validation {
    condition     = var.message_retention_days >= 1 && var.message_retention_days <= 31 && floor(var.message_retention_days) == var.message_retention_days
    error_message = "message_retention_days: ${var.message_retention_days} is not possible; Pub/Sub takes 1 to 31 days."
  }
}

variable "dead_letter_retention_days" {
  description = "Days that dead letters are kept."
  type        = number
  default     = 14

  validation {
    condition     = var.dead_letter_retention_days >= 1 && var.dead_letter_retention_days <= 31 && floor(var.dead_letter_retention_days) == var.dead_letter_retention_days
    error_message = "dead_letter_retention_days: ${var.dead_letter_retention_days} is not possible; Pub/Sub takes 1 to 31 days."
  }
}

variable "kms_key" {
  description = "Customer-managed key in region for all that is stored, as projects/P/locations/L/keyRings/R/cryptoKeys/K; null uses Google's keys."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key == null ? true : can(regex("^projects/[^/]+/locations/${var.region}/keyRings/[^/]+/cryptoKeys/[^/]+$", var.kms_key))
    error_message = "kms_key: write projects/P/locations/${var.region}/keyRings/R/cryptoKeys/K, a key in the function's region and without a version."
  }
}

variable "use_kms_key" {
  description = "Say true where kms_key is known only after an apply, so that the plan can tell; null is whether kms_key is given."
  type        = bool
  default     = null

  validation {
    condition     = var.use_kms_key == null ? true : var.use_kms_key == (var.kms_key != null)
    error_message = "use_kms_key: it contradicts kms_key; give a kms_key and true, or neither."
  }
}

variable "kms_grants" {
  description = "Let the module grant Google's service agents the use of the keys; false if somebody else has granted it."
  type        = bool
  default     = true
}

variable "settle_seconds" {
  description = "Seconds to wait after grants were made, before the first build or trigger uses them; 0 does not wait, and needs no sleep command."
  type        = number
  default     = 90

  validation {
    condition     = var.settle_seconds >= 0 && var.settle_seconds <= 600 && floor(var.settle_seconds) == var.settle_seconds
    error_message = "settle_seconds: ${var.settle_seconds} is not possible; use 0 to 600 s."
  }
}

variable "enable_apis" {
  description = "Enable the Google APIs that are needed; false if that is done elsewhere (the output required_apis lists them)."
  type        = bool
  default     = true
}

variable "log_retention_days" {
  description = "Days that a copy of the function's logs is kept in a log bucket of its own; the project's _Default bucket keeps them as well (30 days unless changed). Null makes no copy."
  type        = number
  default     = null

  validation {
    condition     = var.log_retention_days == null ? true : var.log_retention_days >= 1 && var.log_retention_days <= 3650 && floor(var.log_retention_days) == var.log_retention_days
    error_message = "log_retention_days: use 1 to 3650 days, or null for the project's own setting."
  }
}

variable "alarms" {
  description = "Make alert policies: dead letters, failed runs, no successful run for a day, events that wait too long, errors of the function."
  type        = bool
  default     = true
}

variable "alarm_emails" {
  description = "E-mail addresses that alarms go to."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for a in var.alarm_emails : can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", a))])
    error_message = "alarm_emails: ${join(", ", [for a in var.alarm_emails : "\"${a}\"" if !can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", a))])} is no e-mail address."
  }
}

variable "notification_channels" {
  description = "Existing notification channels that alarms go to, as projects/P/notificationChannels/N."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for c in var.notification_channels : can(regex("^projects/[^/]+/notificationChannels/[^/]+$", c))])
    error_message = "notification_channels: write projects/P/notificationChannels/N, as `gcloud beta monitoring channels list` prints them."
  }

  validation {
    condition     = length(var.notification_channels) + length(distinct(var.alarm_emails)) <= 16
    error_message = "notification_channels: a policy takes 16 channels at most, e-mail addresses among them."
  }
}

variable "dashboard" {
  description = "Make a dashboard of runs, waiting events and dead letters."
  type        = bool
  default     = true
}
