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

run "least" {
  command = plan

  assert {
    condition = yamldecode(google_storage_bucket_object.config.content) == {
      state = "gs://acme-data-dagbucket-state/"
      routes = [{
        name       = "prod"
        sources    = [{ url = "gs://acme-dags/dags/" }]
        deployment = "clmh57jtm000008lb58fe2wmv"
        token      = "gcp-sm:projects/acme-data/secrets/dagbucket-token/versions/latest"
      }]
    }
    error_message = "What is not set is left out of the file, so that the program's defaults hold."
  }

  assert {
    condition     = google_storage_bucket_object.config.name == "dagbucket.yaml" && google_storage_bucket_object.config.bucket == "acme-data-dagbucket-state"
    error_message = "The file lies in the state bucket, where no route can be in its way."
  }

  assert {
    condition     = output.config == google_storage_bucket_object.config.content
    error_message = "The output shows the file."
  }
}

run "everything" {
  command = plan

  variables {
    routes = [{
      name = "prod"
      sources = [
        { url = "gs://acme-dags/dags/", syntax = "hold" },
        { url = "gs://acme-ml/", mount = "ml" },
      ]
      deployment       = "clmh57jtm000008lb58fe2wmv"
      organization     = "clmg78a9d000008l7ek2m1a2b"
      token            = "gcp-sm:projects/acme-secrets/secrets/prod/versions/3"
      quiet_period     = "500ms"
      max_wait         = "1m30s"
      syntax           = "warn"
      guard            = { allow_empty = false, max_removed_percent = 20, max_removed_files = 5 }
      limits           = { max_files = 1000, max_bytes = "500MB" }
      replace_existing = true
      on_drift         = "report"
      base_dir         = ""
      keep_bundles     = 5
      status           = "gs://acme-dags-status/prod/"
      import_errors    = true
      notify = [
        "pubsub:projects/acme-data/topics/dags",
        "webhook:https://hooks.example.com/very-secret",
        jsonencode({ to = "webhook:https://hooks.example.com/very-secret-too", secret = "gcp-sm:projects/acme-secrets/secrets/hook/versions/latest", format = "json", events = ["held"] }),
      ]
      }, {
      name       = "test"
      sources    = [{ url = "gs://acme-dags/test/" }]
      deployment = "clmh57jtm000008lb58fe2tes"
      limits     = { max_bytes = "2147483648" }
      guard      = { allow_empty = true }
    }]
  }

  assert {
    condition = yamldecode(google_storage_bucket_object.config.content).routes[0] == {
      name = "prod"
      sources = [
        { url = "gs://acme-dags/dags/", syntax = "hold" },
        { url = "gs://acme-ml/", mount = "ml" },
      ]
      deployment       = "clmh57jtm000008lb58fe2wmv"
      organization     = "clmg78a9d000008l7ek2m1a2b"
      token            = "gcp-sm:projects/acme-secrets/secrets/prod/versions/3"
      quiet_period     = "500ms"
      max_wait         = "1m30s"
      syntax           = "warn"
      guard            = { allow_empty = false, max_removed_percent = 20, max_removed_files = 5 }
      limits           = { max_files = 1000, max_bytes = "500MB" }
      replace_existing = true
      on_drift         = "report"
      base_dir         = ""
      keep_bundles     = 5
      status           = "gs://acme-dags-status/prod/"
      import_errors    = true
      notify = [
        "pubsub:projects/acme-data/topics/dags",
        "webhook:https://hooks.example.com/very-secret",
        { to = "webhook:https://hooks.example.com/very-secret-too", secret = "gcp-sm:projects/acme-secrets/secrets/hook/versions/latest", format = "json", events = ["held"] },
      ]
    }
    error_message = "Every key arrives, numbers as numbers and bools as bools."
  }

  assert {
    condition     = yamldecode(google_storage_bucket_object.config.content).routes[1].limits == { max_bytes = 2147483648 } && yamldecode(google_storage_bucket_object.config.content).routes[1].guard == { allow_empty = true }
    error_message = "Half of a group is possible, and a number in quotes is a number."
  }

  assert {
    condition     = !strcontains(output.config, "very-secret")
    error_message = "A webhook's address is a secret, and not shown."
  }

  assert {
    condition = (
      sort(keys(google_secret_manager_secret_iam_member.run)) == tolist(["", "projects/acme-secrets/secrets/hook", "projects/acme-secrets/secrets/prod"]) &&
      google_secret_manager_secret_iam_member.run["projects/acme-secrets/secrets/prod"].project == "acme-secrets" && google_secret_manager_secret_iam_member.run["projects/acme-secrets/secrets/prod"].secret_id == "prod" &&
      google_secret_manager_secret_iam_member.run[""].project == "acme-data" && google_secret_manager_secret_iam_member.run[""].secret_id == "dagbucket-token"
    )
    error_message = "The function may read exactly the secrets that are referenced."
  }
}

run "each_route_has_its_token" {
  command = plan

  variables {
    token_secret = "projects/acme-secrets/secrets/unused"
    routes = [{
      name       = "prod"
      sources    = [{ url = "gs://acme-dags/dags/" }]
      deployment = "clmh57jtm000008lb58fe2wmv"
      token      = "gcp-sm:projects/acme-secrets/secrets/prod/versions/latest"
    }]
  }

  assert {
    condition     = tolist(keys(google_secret_manager_secret_iam_member.run)) == tolist(["projects/acme-secrets/secrets/prod"])
    error_message = "A secret that no route refers to cannot be read."
  }
}
