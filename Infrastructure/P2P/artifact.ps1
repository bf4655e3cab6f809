# The functions with which deploy.ps1 finds the Lambda function's code. deploy.ps1 dot-sources this file.
# artifact.sh does the same on Linux and macOS.

# Sets Artifact to the zip to deploy. Downloads it if a URL is given. If none is given, uses the zip of this
# version's release, or else builds the function.
function Find-Artifact {
    if ($script:Artifact -match '^https?://') {
        $url = $script:Artifact
        Write-Step "downloading $url"
        if (-not (Save-Artifact $url)) { Stop-Deployment "$url could not be downloaded: $($script:Complaint)" }
        Write-Step "its SHA-256 is $(Get-Sum $script:Artifact)"
        return
    }
    if ($script:Artifact) { return }
    $release = ''
    if (-not $Build) {
        $release = Use-Release
        if (-not $release) { return }
        Write-Step "no release can be used: $release"
    }
    $cargo = Build-WithCargo
    if (-not $cargo) { return }
    $docker = Build-WithDocker
    if (-not $docker) { return }
    Stop-Deployment @"
there is no code to deploy. One of these is needed:
  a release of this version: $release
  -Artifact FILE or URL: a zip with bootstrap, for $($script:Architecture)
  cargo-lambda: $cargo
  Docker: $docker
"@
}

# Downloads the zip of this version's release from the repository that this checkout was cloned from.
# cloudformation.yaml must name a release of the same version. If that or the download fails, returns the
# reason.
function Use-Release {
    $root = Join-Path $PSScriptRoot '../..'
    $template = [IO.File]::ReadAllText((Join-Path $PSScriptRoot 'cloudformation.yaml'))
    $null = $template -match 'Pinned: \{Url: "(.*)", Arm64: "(.*)", X86: "(.*)"\}'
    $pinned = ($Matches[1] -split '/')[-1]
    $sum = if ($script:Architecture -eq 'arm64') { $Matches[2] } else { $Matches[3] }
    $null = [IO.File]::ReadAllText((Join-Path $root 'Cargo.toml')) -match '(?m)^version = "([^"]*)"'
    $version = "v$($Matches[1])"
    if ($pinned -ne $version) { return "this checkout is of $version, and cloudformation.yaml names $pinned" }
    $origin = Get-Origin $root
    if (-not $origin) { return 'the clone has no remote named origin with a web address' }
    $url = "$origin/releases/download/$version/aurora-lambda-$($script:Architecture).zip"
    Write-Step "downloading $url"
    if (-not (Save-Artifact $url)) { return "$url could not be downloaded: $($script:Complaint)" }
    if ((Get-Sum $script:Artifact) -ne $sum) { Stop-Deployment "$url is not the file that was released: its SHA-256 differs from the one in cloudformation.yaml" }
    return ''
}

# Returns the web address of the remote named origin. Reads git's configuration file, because git itself may
# not be installed.
function Get-Origin([string] $Root) {
    $config = Join-Path $Root '.git/config'
    $file = Join-Path $Root '.git'
    if (Test-Path -LiteralPath $file -PathType Leaf) {
        # A worktree.
        $folder = ([IO.File]::ReadAllText($file) -replace '^gitdir: ', '').Trim()
        $config = Join-Path $folder '../../config'
    }
    if (-not (Test-Path -LiteralPath $config)) { return '' }
    $section = ''
    $url = ''
    foreach ($line in [IO.File]::ReadAllLines($config)) {
        if ($line -match '^\s*\[') { $section = $line.Trim() }
        elseif ($section -eq '[remote "origin"]' -and $line -match '^\s*url\s*=\s*(.*)$') { $url = $Matches[1].Trim() }
    }
    $scheme = 'https'
    if ($url -match '^(https?)://(?:[^/@]*@)?([^/]+)/(.*)$') { $scheme, $server, $path = $Matches[1], $Matches[2], $Matches[3] }
    elseif ($url -match '^ssh://(?:[^/@]*@)?([^/:]+)(?::\d+)?/(.*)$') { $server, $path = $Matches[1], $Matches[2] }
    elseif ($url -match '^[^/@]+@([^/:]+):(.*)$') { $server, $path = $Matches[1], $Matches[2] }
    else { return '' }
    return "${scheme}://$server/$(($path -replace '/$', '') -replace '\.git$', '')"
}

# Downloads a URL, sets Artifact to the file, and returns whether that succeeded.
function Save-Artifact([string] $Url) {
    $file = Join-Path $script:Work 'artifact.zip'
    try { Invoke-WebRequest -Uri $Url -OutFile $file -UseBasicParsing }
    catch {
        $script:Complaint = $_.Exception.Message
        return $false
    }
    $script:Artifact = $file
    return $true
}

function Get-Sum([string] $File) {
    return (Get-FileHash -Algorithm SHA256 -LiteralPath $File).Hash.ToLowerInvariant()
}

# Builds the function with this machine's Rust. Returns what is missing if that is impossible.
function Build-WithCargo {
    $flag = if ($script:Architecture -eq 'arm64') { '--arm64' } else { '--x86-64' }
    $target = if ($script:Architecture -eq 'arm64') { 'aarch64-unknown-linux-gnu' } else { 'x86_64-unknown-linux-gnu' }
    if (-not (Get-Command cargo -ErrorAction SilentlyContinue)) { return 'Rust is missing: install it from https://rustup.rs' }
    cargo lambda --version 2>$null | Out-Null
    if ($LASTEXITCODE -ne 0) { return 'it is missing: pip install cargo-lambda ziglang' }
    $library = rustc --print target-libdir --target $target
    if ($LASTEXITCODE -ne 0 -or -not (Test-Path $library)) { return "the Rust target $target is missing: rustup target add $target" }
    Write-Step "building the function for $($script:Architecture) with cargo-lambda"
    $manifest = Join-Path $PSScriptRoot '../../Cargo.toml'
    cargo lambda build --release $flag --package aurora-discovery-lambda --manifest-path $manifest --output-format zip --lambda-dir $script:Work | Out-Host
    if ($LASTEXITCODE -ne 0) { Stop-Deployment 'the build failed' }
    $script:Artifact = Join-Path $script:Work 'bootstrap/bootstrap.zip'
    return ''
}

# Builds the function in a container. Returns what is missing if that is impossible.
function Build-WithDocker {
    if (-not (Get-Command docker -ErrorAction SilentlyContinue)) { return 'it is missing: install it from https://docs.docker.com/get-docker/' }
    docker version 2>$null | Out-Null
    if ($LASTEXITCODE -ne 0) { return 'its engine does not respond: start it, or allow this user to use it' }
    Write-Step "building the function for $($script:Architecture) with Docker (some minutes)"
    $env:DOCKER_BUILDKIT = '1'
    docker build --file (Join-Path $PSScriptRoot 'Dockerfile') --build-arg "ARCHITECTURE=$($script:Architecture)" --output "type=local,dest=$($script:Work)" (Join-Path $PSScriptRoot '../..') | Out-Host
    if ($LASTEXITCODE -ne 0) { Stop-Deployment 'the build failed' }
    $script:Artifact = Join-Path $script:Work 'bootstrap.zip'
    return ''
}
