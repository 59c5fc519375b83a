mock_provider "google" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  project  = "acme-data"
  region   = "europe-west1"
  zip_file = "tests/function.zip"
  routes = [{
    name       = "prod"
    deployment = "clmh57jtm000008lb58fe2wmv"
    sources    = [{ url = "gs://acme-dags/dags/" }]
  }]
}

run "function_reads_sources_and_writes_state" {
  command = plan

  assert {
    condition = (
      tolist(keys(google_storage_bucket_iam_member.run_source)) == tolist(["acme-dags"]) && google_storage_bucket_iam_member.run_source["acme-dags"].bucket == "acme-dags" &&
      google_storage_bucket_iam_member.run_source["acme-dags"].role == "roles/storage.objectViewer" &&
      google_storage_bucket_iam_member.run_source["acme-dags"].member == "serviceAccount:dagbucket-run@acme-data.iam.gserviceaccount.com"
    )
    error_message = "Sources are read, never written."
  }

  assert {
    condition = (
      google_storage_bucket_iam_member.run_state.bucket == "acme-data-dagbucket-state" && google_storage_bucket_iam_member.run_state.role == "roles/storage.objectUser" &&
      google_storage_bucket_iam_member.run_state.member == "serviceAccount:dagbucket-run@acme-data.iam.gserviceaccount.com"
    )
    error_message = "The state is written."
  }

  assert {
    condition = (
      tolist(keys(google_secret_manager_secret_iam_member.run)) == tolist([""]) && google_secret_manager_secret_iam_member.run[""].secret_id == "dagbucket-token" &&
      google_secret_manager_secret_iam_member.run[""].role == "roles/secretmanager.secretAccessor" &&
      google_secret_manager_secret_iam_member.run[""].member == "serviceAccount:dagbucket-run@acme-data.iam.gserviceaccount.com"
    )
    error_message = "One secret is read."
  }

  assert {
    condition     = length(google_project_iam_member.run_pays) == 0
    error_message = "The function has no right on the project."
  }
}

run "notify_and_status" {
  command = plan

  variables {
    buckets = { acme-pages = { create = true }, acme-ml = { manage = false } }
    routes = [
      {
        name   = "a", deployment = "a", sources = [{ url = "gs://acme-dags/a/" }], status = "gs://acme-pages/a/", import_errors = true
        notify = ["pubsub:projects/acme-chat/topics/dags", "slack:gcp-sm:projects/acme-chat/secrets/slack/versions/latest", "webhook:https://hooks.example.com/x"]
      },
      {
        name = "b", deployment = "b", sources = [{ url = "gs://acme-dags/b/" }], status = "gs://acme-pages/b/"
        notify = [
          "pubsub:projects/acme-chat/topics/dags",
          "webhook:gcp-sm:projects/acme-chat/secrets/hook/versions/2",
          jsonencode({ to = "webhook:https://hooks.example.com/x", secret = "gcp-sm:projects/acme-chat/secrets/key/versions/latest" }),
        ]
      },
      { name = "c", deployment = "c", sources = [{ url = "gs://acme-ml/dags/" }], status = "gs://acme-ml/pages/it's/" },
    ]
  }

  assert {
    condition = { for topic, grant in google_pubsub_topic_iam_member.run_notify : topic => [grant.project, grant.topic, grant.role, grant.member] } == {
      "projects/acme-chat/topics/dags" = ["acme-chat", "dags", "roles/pubsub.publisher", "serviceAccount:dagbucket-run@acme-data.iam.gserviceaccount.com"]
    }
    error_message = "The function publishes to the topics of notify alone, granted once each."
  }

  assert {
    condition = { for key, grant in google_storage_bucket_iam_member.run_status : key => [grant.bucket, grant.role, grant.member, grant.condition[0].expression] } == {
      "acme-pages/1" = [
        "acme-pages", "roles/storage.objectUser", "serviceAccount:dagbucket-run@acme-data.iam.gserviceaccount.com",
        "resource.name.startsWith(\"projects/_/buckets/acme-pages/objects/a/\") || resource.name.startsWith(\"projects/_/buckets/acme-pages/objects/b/\")",
      ]
    }
    error_message = "It writes its pages, and nothing beside them; nothing is granted on a bucket that is not managed."
  }

  assert {
    condition     = length([for c in output.connect_commands["acme-ml"] : c if strcontains(c, "--role=roles/storage.objectUser") && strcontains(c, "objects/pages/it'\\''s/")]) == 1
    error_message = "The owner of a bucket that is not managed learns what to grant."
  }

  assert {
    condition     = sort(keys(google_secret_manager_secret_iam_member.run)) == tolist(["", "projects/acme-chat/secrets/hook", "projects/acme-chat/secrets/key", "projects/acme-chat/secrets/slack"])
    error_message = "The secrets of webhooks are read as those of tokens are."
  }
}

run "many_status_pages" {
  command = plan

  variables {
    routes = [for i in range(25) : { name = "r${i}", deployment = "d${i}", sources = [{ url = "gs://acme-dags/${i}/" }], status = "gs://acme-pages/${i}/" }]
  }

  assert {
    condition = (
      length(google_storage_bucket_iam_member.run_status) == 3 && length(distinct([for g in google_storage_bucket_iam_member.run_status : g.condition[0].title])) == 3 &&
      alltrue([for g in google_storage_bucket_iam_member.run_status : length(split(" || ", g.condition[0].expression)) <= 12])
    )
    error_message = "Google takes 12 logical operators in a condition, and 20 conditions for a role."
  }
}

run "two_routes_with_one_token" {
  command = plan

  variables {
    routes = [
      { name = "a", deployment = "a", sources = [{ url = "gs://acme-dags/a/" }], token = "gcp-sm:projects/acme-secrets/secrets/astro/versions/latest" },
      { name = "b", deployment = "b", sources = [{ url = "gs://acme-dags/b/" }], token = "gcp-sm:projects/acme-secrets/secrets/astro/versions/3" },
      { name = "c", deployment = "c", sources = [{ url = "gs://acme-dags/c/" }] },
    ]
  }

  assert {
    condition = (
      tolist(keys(google_secret_manager_secret_iam_member.run)) == tolist(["", "projects/acme-secrets/secrets/astro"]) &&
      google_secret_manager_secret_iam_member.run["projects/acme-secrets/secrets/astro"].project == "acme-secrets" &&
      google_secret_manager_secret_iam_member.run["projects/acme-secrets/secrets/astro"].secret_id == "astro"
    )
    error_message = "One grant for a secret: it stays while one of its routes does."
  }
}

run "every_route_with_a_version_of_token_secret" {
  command = plan

  variables {
    token_secret = "projects/acme-secrets/secrets/astro"
    routes       = [{ name = "a", deployment = "a", sources = [{ url = "gs://acme-dags/a/" }], token = "gcp-sm:projects/acme-secrets/secrets/astro/versions/3" }]
  }

  assert {
    condition     = tolist(keys(google_secret_manager_secret_iam_member.run)) == tolist(["projects/acme-secrets/secrets/astro"]) && length(google_secret_manager_secret.token) == 0
    error_message = "One grant, and no secret is made."
  }
}

run "only_the_trigger_calls" {
  command = plan

  assert {
    condition = (
      google_cloud_run_v2_service_iam_member.trigger.name == "dagbucket" && google_cloud_run_v2_service_iam_member.trigger.location == "europe-west1" &&
      google_cloud_run_v2_service_iam_member.trigger.role == "roles/run.invoker" &&
      google_cloud_run_v2_service_iam_member.trigger.member == "serviceAccount:dagbucket-trigger@acme-data.iam.gserviceaccount.com"
    )
    error_message = "One account may call this one service."
  }
}

run "build" {
  command = plan

  assert {
    condition = { for grant in google_project_iam_member.build : grant.role => join("", grant.condition[*].expression) } == {
      "roles/logging.logWriter"    = ""
      "roles/storage.objectViewer" = "resource.name.startsWith(\"projects/_/buckets/gcf-v2-sources-123456789012-europe-west1\")"
    }
    error_message = "On the project, a build writes logs, and reads Google's copy of the source alone."
  }

  assert {
    condition     = google_storage_bucket_iam_member.build_code[0].condition[0].expression == "resource.name.startsWith(\"projects/_/buckets/acme-data-dagbucket-state/objects/.code/\")"
    error_message = "A build cannot read the state."
  }

  assert {
    condition     = google_artifact_registry_repository_iam_member.build.role == "roles/artifactregistry.writer" && google_artifact_registry_repository_iam_member.build.repository == "dagbucket"
    error_message = "A build writes to the module's repository alone."
  }

  assert {
    condition = alltrue([
      for member in concat([for grant in google_project_iam_member.build : grant.member], [google_storage_bucket_iam_member.build_code[0].member, google_artifact_registry_repository_iam_member.build.member]) :
      member == "serviceAccount:dagbucket-build@acme-data.iam.gserviceaccount.com"
    ])
    error_message = "These are rights of the build's account."
  }
}

run "grants_settle" {
  command = plan

  assert {
    condition     = length(terraform_data.grants_settle[0].triggers_replace) == 4
    error_message = "A wait follows the build's four grants, and comes again with each new one."
  }

  assert {
    condition     = output.function_name != "" && can(regex("depends_on = \\[[^]]*terraform_data\\.grants_settle,", file("${path.module}/main.tf"))) && can(regex("depends_on = \\[[^]]*terraform_data\\.grants_settle,", file("${path.module}/events.tf")))
    error_message = "The function and Eventarc's triggers come after it."
  }
}

run "grants_settle_with_a_key_and_eventarc" {
  command = plan

  variables {
    trigger = "eventarc"
    kms_key = "projects/acme-keys/locations/europe-west1/keyRings/acme/cryptoKeys/dagbucket"
  }

  assert {
    condition     = length(terraform_data.grants_settle[0].triggers_replace) == 4 + 1 + 5 + 2
    error_message = "Grants of keys and Eventarc's must have settled too."
  }
}

run "no_wait" {
  command = plan

  variables {
    settle_seconds = 0
  }

  assert {
    condition     = length(terraform_data.grants_settle) == 0
    error_message = "Nothing is run on this machine."
  }
}

run "agents" {
  command = plan

  assert {
    condition = (
      tolist(keys(google_pubsub_topic_iam_member.storage)) == tolist([""]) && google_pubsub_topic_iam_member.storage[""].topic == "dagbucket-events" && google_pubsub_topic_iam_member.storage[""].role == "roles/pubsub.publisher" &&
      google_pubsub_topic_iam_member.storage[""].member == "serviceAccount:service-123456789012@gs-project-accounts.iam.gserviceaccount.com"
    )
    error_message = "Cloud Storage may publish to this topic."
  }

  assert {
    condition = (
      google_pubsub_topic_iam_member.dead_letters[0].topic == "dagbucket-dead-letters" && google_pubsub_topic_iam_member.dead_letters[0].role == "roles/pubsub.publisher" &&
      google_pubsub_topic_iam_member.dead_letters[0].member == "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com"
    )
    error_message = "Pub/Sub may publish dead letters."
  }

  assert {
    condition = (
      google_pubsub_subscription_iam_member.dead_letters[0].subscription == "dagbucket-events" && google_pubsub_subscription_iam_member.dead_letters[0].role == "roles/pubsub.subscriber" &&
      google_pubsub_subscription_iam_member.dead_letters[0].member == "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com"
    )
    error_message = "Pub/Sub may take them off the queue."
  }

  assert {
    condition = (
      google_service_account_iam_member.pubsub_token.role == "roles/iam.serviceAccountOpenIdTokenCreator" &&
      google_service_account_iam_member.pubsub_token.service_account_id == "projects/acme-data/serviceAccounts/dagbucket-trigger@acme-data.iam.gserviceaccount.com"
    )
    error_message = "Pub/Sub may make tokens of the trigger's account, and of no other."
  }
}

run "additive" {
  command = plan

  assert {
    # _binding and _policy replace what others granted; _acl and the _access_control resources go round IAM.
    condition = output.function_name != "" && alltrue([
      for file in fileset(path.module, "*.tf") : !can(regex("resource \"google_[a-z0-9_]+_(iam_binding|iam_policy|acl|access_control)\"", file("${path.module}/${file}")))
    ])
    error_message = "Grants add a member, and never replace those of others."
  }

  assert {
    condition     = output.function_name != "" && can(regex("replace_triggered_by = \\[google_cloudfunctions2_function\\.this\\.id\\]", file("${path.module}/iam.tf")))
    error_message = "A function that was replaced is called again."
  }

  assert {
    condition     = output.function_name != "" && alltrue([for file in fileset(path.module, "*.tf") : !can(regex("allUsers|allAuthenticatedUsers", file("${path.module}/${file}")))])
    error_message = "Nothing is public."
  }
}
